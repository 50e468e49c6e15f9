//! `pkgtool doctor`

use crate::doctor::{State, examine, to_json};
use crate::exit::{Failure, print_line};
use clap::Args;

/// Say what of this machine helps or hinders packages, and what to do about it
///
/// Most is found out by doing: a namespace is made, a mount is mounted, and gone with the process
/// that did it. Prints a line a finding, and a hint where something can be better. Exits with 1
/// when there is a problem, with 0 when there is none.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let findings = examine();
    let problems = findings.iter().filter(|finding| finding.state == State::Problem).count();
    if args.json {
        print_line(to_json(&findings))?;
    } else {
        for finding in &findings {
            let (state, check, found) = (finding.state.name(), finding.check, &finding.found);
            print_line(format!("{state:<8} {check}: {}: {found}", finding.result))?;
            if let Some(remedy) = &finding.remedy {
                print_line(format!("hint: {remedy}"))?;
            }
        }
    }
    match problems {
        0 => Ok(()),
        1 => Err(Failure::refused("there is a problem")),
        several => Err(Failure::refused(format!("there are {several} problems"))),
    }
}
