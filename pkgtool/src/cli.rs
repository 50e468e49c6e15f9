//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    add, cat, confine, convert, desktop, diff, doctor, exec, extract, import, inspect, keygen,
    link, list, ls, mount, mounts, pack, remote, remove, repo, report, rollback, run, source,
    stats, trust, umount, verify,
};
use crate::events;
use crate::exit::Failure;
use crate::remote::hand_over;

/// Ship and run an application as one verified, compressed file
///
/// Exit status: 0 all is well; 1 a finding or refusal; 2 usage; 3 environment or I/O; 4 invalid
/// package; 5 signature or trust; 6 incompatible. `run` exits as the application does, or with
/// 125 when it could not be launched, 126 when it can't be executed, 127 when it isn't there.
#[derive(Debug, Parser)]
#[command(name = "pkgtool", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pack(Box<pack::Args>),
    Convert(Box<convert::ConvertArgs>),
    Import(Box<import::ImportArgs>),
    Add(add::AddArgs),
    List(list::ListArgs),
    Remove(remove::RemoveArgs),
    Source(source::SourceArgs),
    #[command(flatten)]
    Remote(remote::RemoteCommand),
    Rollback(rollback::RollbackArgs),
    Repo(repo::RepoArgs),
    Trust(trust::TrustCommand),
    Run(run::RunArgs),
    Exec(exec::ExecArgs),
    Link(link::LinkArgs),
    #[command(subcommand)]
    Desktop(desktop::DesktopCommand),
    Doctor(doctor::DoctorArgs),
    Confine(confine::ConfineArgs),
    Mount(mount::MountArgs),
    Umount(umount::UmountArgs),
    Mounts(mounts::MountsArgs),
    Stats(stats::StatsArgs),
    Verify(verify::VerifyArgs),
    Report(report::ReportArgs),
    Inspect(inspect::InspectArgs),
    Ls(ls::LsArgs),
    Cat(cat::CatArgs),
    Extract(extract::ExtractArgs),
    Diff(diff::DiffArgs),
    Keygen(keygen::KeygenArgs),
}

impl Cli {
    /// What `pkgtool-remote` does.
    pub(crate) fn run_remote(&self) -> Result<(), Failure> {
        events::start()?;
        let done = match &self.command {
            Command::Remote(command) => Some(command.run()),
            Command::Repo(args) => repo::run_remote(args),
            _ => None,
        };
        done.unwrap_or_else(|| {
            Err(Failure::usage("this program does nothing but talk to servers")
                .hint("`pkgtool` does everything else"))
        })
    }

    /// What `pkgtool` does.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // `mount` has an option of its own for that.
        match self.command {
            Command::Mount(_) => {}
            Command::Run(_) | Command::Exec(_) => events::start().map_err(Failure::into_launch)?,
            _ => events::start()?,
        }
        match &self.command {
            Command::Pack(args) => pack::run(args),
            Command::Convert(args) => convert::convert(args),
            Command::Import(args) => import::import(args),
            Command::Add(args) => add::add(args),
            Command::List(args) => list::list(args),
            Command::Remove(args) => remove::remove(args),
            Command::Source(args) => source::source(args),
            Command::Remote(_) => Err(hand_over()),
            Command::Rollback(args) => rollback::rollback(args),
            Command::Repo(args) => repo::repo(args),
            Command::Trust(command) => trust::trust(command),
            Command::Verify(args) => verify::verify(args),
            Command::Report(args) => report::report(args),
            Command::Mount(args) => mount::mount(args),
            Command::Umount(args) => umount::umount(args),
            Command::Mounts(args) => mounts::mounts(args),
            Command::Stats(args) => stats::stats(args),
            Command::Run(args) => run::run(args),
            Command::Exec(args) => exec::exec(args),
            Command::Link(args) => link::link(args),
            Command::Desktop(command) => desktop::desktop(command),
            Command::Doctor(args) => doctor::doctor(args),
            Command::Confine(args) => confine::confine(args),
            Command::Inspect(args) => inspect::inspect(args),
            Command::Ls(args) => ls::ls(args),
            Command::Cat(args) => cat::cat(args),
            Command::Extract(args) => extract::extract(args),
            Command::Diff(args) => diff::diff(args),
            Command::Keygen(args) => keygen::keygen(args),
        }
    }
}
