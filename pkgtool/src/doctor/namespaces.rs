//! User namespaces, and a mount in them: absent, restricted or fine.

use super::{Finding, State};
use crate::namespace::probe::Probe;
use crate::namespace::user::{self, Refusal};

const USER: &str = "user-namespaces";
const MOUNT: &str = "mounting";

/// What an ordinary user can do, and what a launch by this user can.
pub(super) fn examine() -> [Finding; 2] {
    match Probe::run(true) {
        Err(error) => {
            let unknown = |check| {
                Finding::new(check, State::Problem, "unknown", format!("not tried: {error}"))
            };
            [unknown(USER), unknown(MOUNT)]
        }
        Ok(namespaced) if user::may_mount() => {
            // Without a namespace of users, as a launch by this user.
            let own = Probe::run(false).unwrap_or_else(|_| namespaced.clone());
            [judge_user(&namespaced, true), judge_mount(&own)]
        }
        Ok(probe) => [judge_user(&probe, false), judge_mount(&probe)],
    }
}

fn judge_user(probe: &Probe, privileged: bool) -> Finding {
    let Err(refusal) = probe.view() else {
        return Finding::ok(USER, "fine", "made, and mounted in one");
    };
    let result = if is_restriction(refusal) { "restricted" } else { "absent" };
    let state = if privileged { State::Note } else { State::Problem };
    let why = match (result, privileged) {
        ("restricted", _) if refusal.entered => "granted, but good for nothing: ",
        ("restricted", _) => "forbidden by a security module: ",
        _ => "",
    };
    let found = format!("{why}{}: {}", refusal.step, refusal.reason);
    let finding = Finding::new(USER, state, result, found);
    match user::remedy() {
        Some(_) if user::is_restricted_by_apparmor() => finding.remedy(
            "as root: `cp pkgtool/system/apparmor.d/pkgtool /etc/apparmor.d/ && apparmor_parser -r \
             /etc/apparmor.d/pkgtool`; or for all programs `sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0`",
        ),
        Some(remedy) => finding.remedy(remedy),
        None if result == "restricted" => finding.remedy(
            "a security module or a filter of system calls allows the namespace and nothing in it: \
             let it allow `pkgtool` both, or run it outside of that container",
        ),
        None => finding.remedy(
            "let the container or service make user namespaces (unshare(2)), or use a kernel with \
             CONFIG_USER_NS",
        ),
    }
}

/// Whether something lets the namespace be and forbids what it is for.
fn is_restriction(refusal: &Refusal) -> bool {
    refusal.entered || user::is_restricted_by_apparmor()
}

fn judge_mount(probe: &Probe) -> Finding {
    match (probe.view(), &probe.fuse) {
        (Ok(()), Some(Ok(()))) => {
            Finding::ok(MOUNT, "fine", "a mount through FUSE for one process works")
        }
        (Ok(()), Some(Err(reason))) => {
            Finding::new(MOUNT, State::Problem, "refused", reason.clone())
                .remedy("see `fuse-device`; a container may have to allow mount(2)")
        }
        (Err(refusal), _) => {
            let found = format!("not without a namespace: {}: {}", refusal.step, refusal.reason);
            Finding::new(MOUNT, State::Problem, "refused", found).remedy("see `user-namespaces`")
        }
        (Ok(()), None) => Finding::new(MOUNT, State::Problem, "unknown", "not tried"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_distinct_findings() {
        let refusal =
            |entered| Refusal::new("unshare(2)", &std::io::ErrorKind::Other.into(), entered);
        let probe = |user, mount| Probe { user, mount, fuse: None };
        let table = [
            (probe(Ok(()), Some(Ok(()))), "fine", State::Ok),
            (probe(Ok(()), Some(Err(refusal(true)))), "restricted", State::Problem),
            (probe(Err(refusal(true)), None), "restricted", State::Problem),
        ];
        for (probe, result, state) in table {
            let finding = judge_user(&probe, false);
            assert_eq!((finding.result, finding.state), (result, state), "{probe:?}");
            assert_eq!(finding.remedy.is_some(), state == State::Problem);
        }
        if !user::is_restricted_by_apparmor() {
            let finding = judge_user(&probe(Err(refusal(false)), None), false);
            assert_eq!((finding.result, finding.state), ("absent", State::Problem));
        }
    }
}
