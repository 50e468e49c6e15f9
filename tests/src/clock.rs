//! Programs whose clock is another one: a library that is loaded before the C library stands between
//! them and it. The machine's own clock is never touched.

use std::path::PathBuf;
use std::process::Command;

use crate::native::Compiler;

/// A number of seconds for each call, over and over again, added to the time of day. Time that only
/// passes (CLOCK_MONOTONIC) passes as always, as it does when somebody sets the clock.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long jumps[16];
static unsigned count;
static atomic_uint calls;

__attribute__((constructor)) static void load(void) {
    char *at = getenv("EPKTEST_CLOCK"), *end;
    for (; at && *at && count < 16; at = *end ? end + 1 : end)
        jumps[count++] = strtoll(at, &end, 10);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && count && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += jumps[atomic_fetch_add(&calls, 1) % count];
    return result;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *time) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (time) *time = now.tv_sec;
    return now.tv_sec;
}
"#;

/// Sets the clock of programs that it is given to.
#[derive(Debug)]
pub struct WrongClock {
    library: PathBuf,
    /// Where the library lies.
    _compiler: Compiler,
}

impl Default for WrongClock {
    fn default() -> Self {
        let compiler = Compiler::default();
        let _bytes = compiler.make("libclock.so", SOURCE, &["-shared", "-fPIC"]);
        Self { library: compiler.path("libclock.so"), _compiler: compiler }
    }
}

impl WrongClock {
    /// Has a command, and what it starts, see a time of day that is wrong by so many seconds: by the
    /// first number when it is asked for the first time, and so on, and from the beginning again.
    pub fn set<'c>(&self, command: &'c mut Command, seconds: &[i64]) -> &'c mut Command {
        let words: Vec<String> = seconds.iter().map(ToString::to_string).collect();
        command.env("LD_PRELOAD", &self.library).env("EPKTEST_CLOCK", words.join(","))
    }
}
