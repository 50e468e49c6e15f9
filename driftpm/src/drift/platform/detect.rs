//! What this machine is, from what its system says about itself. The caller reads the system;
//! here is only what to make of it.

use std::collections::BTreeSet;

use super::{Libc, LibcVersion, Platform, is_word};

/// The processor features that packages ask for.
const FEATURES: [&str; 10] =
    ["aes", "asimd", "avx", "avx2", "avx512f", "bmi2", "fma", "sse4_2", "sha_ni", "sve"];

/// Makes a descriptor of the names of system and architecture, the text of `/proc/cpuinfo`, and
/// the names of files in the folders where C libraries lie: `ld-linux-x86-64.so.2` with its
/// version, or `ld-musl-x86_64.so.1`. `glibc_version` is what the C library says of itself.
#[must_use]
pub fn detect(
    os: &str,
    arch: &str,
    cpuinfo: &str,
    loaders: &[String],
    glibc_version: Option<&str>,
) -> Platform {
    let word = |text: &str| {
        if is_word(text) { text.to_owned() } else { "unknown".to_owned() }
    };
    let glibc = glibc_version.and_then(LibcVersion::parse);
    let musl = loaders.iter().any(|name| name.starts_with("ld-musl-"));
    let (abi, libc) = match (glibc, musl) {
        (Some(version), _) => ("gnu", Some(Libc { name: "glibc".to_owned(), version })),
        // musl does not tell its version without being run.
        (None, true) => (
            "musl",
            LibcVersion::parse("1").map(|version| Libc { name: "musl".to_owned(), version }),
        ),
        (None, false) => ("none", None),
    };
    let line =
        cpuinfo.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let capabilities: BTreeSet<String> = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, flags)| flags.split_whitespace())
        .into_iter()
        .flatten()
        .filter(|flag| FEATURES.contains(flag))
        .map(str::to_owned)
        .collect();
    Platform { os: word(os), arch: word(arch), abi: abi.to_owned(), libc, capabilities }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_something_of_what_systems_say() {
        let glibc = detect("linux", "x86_64", "flags\t\t: fpu avx2 aes\n", &[], Some("2.36"));
        assert_eq!(glibc.abi, "gnu");
        assert_eq!(glibc.capabilities.into_iter().collect::<Vec<_>>(), ["aes", "avx2"]);
        let loaders = ["ld-musl-aarch64.so.1".to_owned()];
        let musl = detect("linux", "aarch64", "Features\t: asimd\n", &loaders, None);
        assert_eq!((musl.abi.as_str(), musl.libc.unwrap().name.as_str()), ("musl", "musl"));
        let strange = detect("OS/2", "x86-64", "", &[], None);
        assert_eq!(strange.key(), "unknown-unknown-none");
    }
}
