//! `pkgtool run`

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, FromArgMatches as _};
use epk_format::manifest::{ApiVersion, Manifest};
use epkfs::handover::Inherited;

use crate::events;
use crate::exit::{Failure, print_line};
use crate::input::{self, TrustArgs, Verify, open_in_full, open_package};
use crate::isolation::{self, Data, Facts, Level, Plan, Program};
use crate::launch::ladder::Via;
use crate::launch::{Launch, check_target, user_data};
use crate::store;

mod sandbox;

use sandbox::SandboxArgs;

/// Run an application out of its package
///
/// FILE with a slash, or with `.epk` at the end, is a path; any other word is NAME or
/// NAME@VERSION of an installed package.
///
/// Verifies the package, mounts it at /package in a view of the host that only the application
/// has, and runs its entry, or the command that the first word names; words after `--` are
/// arguments in any case. Its working folder is /user-data, which is kept from run to run in
/// $XDG_DATA_HOME/epk/data. Needs no privileges. When the application ends, so do all processes
/// that it started, mount and server.
///
/// Exits as the application does; with 125 when it could not be launched, 126 when it can't be
/// executed, 127 when it isn't in the package.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    trust: TrustArgs,

    /// When a package of format 1.0 is hashed as a whole
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    verify: Verify,

    /// The API version to judge by, instead of this host's
    #[arg(long, value_name = "X.Y", value_parser = input::parse_api)]
    kernel_api: Option<ApiVersion>,

    #[command(flatten)]
    sandbox: SandboxArgs,

    /// Note in FILE which files the application reads, in the order of their first reads
    ///
    /// A path a line. `pkgtool pack --profile FILE` puts them first and together. What FILE held
    /// is lost; with several runs at once each needs a file of its own.
    #[arg(long, value_name = "FILE")]
    record_profile: Option<PathBuf>,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// With --dry-run: print it as JSON (epk.plan/1)
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// How the package is made visible to the application; by default in the first of these ways
    /// that works
    #[arg(long, value_name = "WAY", value_enum, default_value_t, env = "EPK_RUN_VIA")]
    via: Via,

    /// The package, a command of it, and arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_names = ["FILE", "[COMMAND] [ARGS]"]
    )]
    words: Vec<OsString>,
}

impl RunArgs {
    /// What `run` reads out of the words after it.
    pub(crate) fn of(words: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let parser = Self::augment_args(clap::Command::new("run").no_binary_name(true));
        let matches = parser.try_get_matches_from(words);
        matches
            .and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| Failure::usage(error.to_string().trim()))
    }
}

pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    // The words may be anything, so the parser takes an option that it doesn't know for the first.
    if let Some(file) = args.words.first()
        && file.as_encoded_bytes().starts_with(b"-")
    {
        let file = file.display();
        return Err(Failure::usage(format!("unknown option `{file}`"))
            .hint(format!("a package of that name is `./{file}`")));
    }
    let inherited = Inherited::now();
    let prepared = prepare(args, inherited).map_err(Failure::into_launch);
    if args.dry_run {
        return show(&prepared?.0, args.json);
    }
    let launched = prepared.and_then(|(launch, data)| {
        if let Data::Folder(folder) = &data {
            user_data::prepare(folder)?;
        }
        launch.run().map_err(Failure::into_launch)
    });
    match launched {
        Ok(never) => match never {},
        Err(failure) => {
            let word = args.words.first().map(PathBuf::from).unwrap_or_default();
            let image = store::file_meant(&word).and_then(|file| absolute(&file)).unwrap_or(word);
            events::not_launched(&image, &failure);
            Err(failure)
        }
    }
}

fn prepare(args: &RunArgs, inherited: Inherited) -> Result<(Launch, Data), Failure> {
    let (file, words) = args.words.split_first().ok_or_else(|| Failure::usage("no package"))?;
    let file = &store::file_meant(Path::new(file))?;
    let options = args.trust.open_options()?;
    let package = match args.verify {
        Verify::Once => open_package(file, &options)?,
        Verify::Full => open_in_full(file, &options)?,
    };
    store::hold(package.source());
    let manifest = package.parse_manifest().map_err(|error| Failure::manifest(file, &error))?;
    manifest
        .check_compatibility(&input::host(args.kernel_api))
        .map_err(|error| Failure::manifest(file, &error))?;
    events::compatible(file, &manifest);
    let choice = choose(&manifest, words);
    check_target(&package, &choice.target)?;
    let image = absolute(file)?;
    let data = args.sandbox.data(&manifest.name, &image)?;
    let options = args.sandbox.options(manifest.isolation.map(Level::from));
    let (homes, home) = sandbox::homes(options.level);
    let facts = Facts {
        package: image.clone(),
        name: manifest.name,
        version: manifest.version,
        command: choice.command,
        data: data.clone(),
        homes,
        home,
    };
    let plan = Plan::new(&options, &facts).map_err(Failure::launch)?;
    let profile = match &args.record_profile {
        Some(file) if !args.dry_run => Some(create_profile(file)?),
        _ => None,
    };
    // Only a server in the application's own view notes them.
    let via = if profile.is_some() && args.via == Via::Auto { Via::Userns } else { args.via };
    if profile.is_some() && via != Via::Userns {
        return Err(Failure::usage("`--record-profile` needs `--via userns`"));
    }
    let launch = Launch {
        package,
        image,
        target: choice.target,
        arguments: choice.arguments.to_vec(),
        environment: plan.environment.of(std::env::vars_os()),
        plan,
        profile,
        inherited,
        via,
        cache_home: input::cache_home(),
        runtime_folder: runtime_folder(),
    };
    Ok((launch, data))
}

fn show(launch: &Launch, as_json: bool) -> Result<(), Failure> {
    let path = format!("{}{}", isolation::PACKAGE, launch.target);
    let program = Program { path: &path, arguments: &launch.arguments };
    if as_json {
        return print_line(isolation::json(&launch.plan, &program));
    }
    isolation::lines(&launch.plan, &program).into_iter().try_for_each(print_line)
}

/// `$XDG_RUNTIME_DIR/epk`, or the folder for temporary files.
fn runtime_folder() -> PathBuf {
    let variable = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = variable.filter(|path| path.is_absolute()).map(|path| path.join("epk"));
    folder.unwrap_or_else(std::env::temp_dir)
}

fn create_profile(file: &Path) -> Result<File, Failure> {
    File::create(file).map_err(|error| {
        Failure::environment(format!("cannot write `{}`: {error}", file.display()))
    })
}

/// What is executed.
struct Choice<'w> {
    target: String,
    /// The command that was named.
    command: Option<String>,
    /// What is left of the words after the package.
    arguments: &'w [OsString],
}

fn choose<'w>(manifest: &Manifest, words: &'w [OsString]) -> Choice<'w> {
    let entry = |arguments| Choice { target: manifest.entry.clone(), command: None, arguments };
    let Some((first, rest)) = words.split_first() else { return entry(words) };
    if first == "--" {
        return entry(rest);
    }
    match first.to_str().and_then(|name| Some((name, manifest.command(name)?))) {
        Some((name, target)) => {
            Choice { target: target.to_owned(), command: Some(name.to_owned()), arguments: rest }
        }
        None => entry(words),
    }
}

fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(file)
        .map_err(|error| Failure::environment(format!("`{}`: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_may_name_a_command() {
        let manifest = Manifest {
            name: "n".into(),
            version: "1".into(),
            arch: "x86-64".into(),
            kernel_api: "1.0".into(),
            entry: "/bin/app".into(),
            commands: [("tool".to_owned(), "/bin/tool".to_owned())].into(),
            isolation: None,
        };
        let cases: [(&[&str], &str, &[&str]); 6] = [
            (&[], "/bin/app", &[]),
            (&["x", "y"], "/bin/app", &["x", "y"]),
            (&["tool", "y", "--", "z"], "/bin/tool", &["y", "--", "z"]),
            (&["--", "tool", "y"], "/bin/app", &["tool", "y"]),
            (&["--", "--", "y"], "/bin/app", &["--", "y"]),
            (&["--flag"], "/bin/app", &["--flag"]),
        ];
        for (words, target, rest) in cases {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let found = choose(&manifest, &words);
            assert_eq!(
                (found.target.as_str(), found.arguments),
                (target, &rest.iter().map(OsString::from).collect::<Vec<_>>()[..])
            );
            assert_eq!(found.command.is_some(), target == "/bin/tool");
        }
    }
}
