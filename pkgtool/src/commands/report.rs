//! `pkgtool report`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use epk_format::manifest::{ApiVersion, Isolation, Manifest};
use epk_format::path;
use nix::sys::utsname::uname;
use serde_json::{Value, json};

use crate::doctor::{self, Finding, State};
use crate::exit::{Failure, print_line};
use crate::input::{self, TrustArgs};
use crate::verdict::{Looks, Verdict, judge};

/// Say all about one package and whether it runs here, for whoever is asked for help
///
/// Does what `verify --deep --compat --loader` does, and what `doctor` does. Prints nothing of the
/// environment and of keys but their ids. Exits as `verify` does.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    trust: TrustArgs,

    /// The API version to judge by, instead of this host's
    #[arg(long, value_name = "X.Y", value_parser = input::parse_api)]
    kernel_api: Option<ApiVersion>,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let options = args.trust.open_options()?;
    let looks = Looks { deep: true, compat: true, loader: true, kernel_api: args.kernel_api };
    // First what forks: a process with other threads can't.
    let machine = doctor::examine();
    let verdict = judge(&args.file, &options, &looks);
    let host = Host::new(args.kernel_api);
    if args.json {
        print_line(json!({
            "schema": "epk.report/1",
            "pkgtool": env!("CARGO_PKG_VERSION"),
            "size": fs::metadata(&args.file).ok().map(|metadata| metadata.len()),
            "host": host.to_json(),
            "verdict": verdict.to_json(&args.file),
            "machine": doctor::to_json(&machine),
        }))?;
    } else {
        print_line(to_text(&args.file, &verdict, &host, &machine))?;
    }
    match verdict.exit {
        None => Ok(()),
        Some(exit) => Err(verdict.failure(exit, &args.file, options.signature)),
    }
}

/// This machine, as far as compatibility is concerned.
struct Host {
    /// `Linux 6.12.0 x86_64`
    system: String,
    /// What the distribution calls itself.
    distribution: Option<String>,
    arches: &'static [&'static str],
    kernel_api: ApiVersion,
}

impl Host {
    fn new(kernel_api: Option<ApiVersion>) -> Self {
        let host = input::host(kernel_api);
        let system = uname().map_or("unknown".to_owned(), |name| {
            let words = [name.sysname(), name.release(), name.machine()];
            words.map(|word| word.to_string_lossy().into_owned()).join(" ")
        });
        // os-release(5)
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let line = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let distribution = line.map(|text| text.trim_matches(['"', '\'']).to_owned());
        Self { system, distribution, arches: host.arches, kernel_api: host.kernel_api }
    }

    fn to_json(&self) -> Value {
        json!({
            "system": self.system,
            "distribution": self.distribution,
            "arches": self.arches,
            "kernel_api": self.kernel_api.to_string(),
        })
    }
}

fn to_text(file: &Path, verdict: &Verdict, host: &Host, machine: &[Finding]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line =
        |name: &str, text: &str| lines.push(format!("{name:<13} {text}").trim_end().into());
    let mut several = |name: &str, texts: &[String], none: &str| {
        line(name, texts.first().map_or(none, String::as_str));
        texts.iter().skip(1).for_each(|text| line("", text));
    };
    let display = |text: &str| path::display(text.as_bytes()).into_owned();
    several("package", &[verdict.to_line(file).lines().next().unwrap_or_default().to_owned()], "");
    several("wrong", &verdict.reasons(), "nothing");
    let mut known = |name: &str, text: Option<String>| {
        several(name, &text.into_iter().collect::<Vec<_>>(), "unknown");
    };
    known("format", verdict.format.clone());
    known("hash", verdict.package_hash.clone());
    let key = verdict.key_id.as_ref().map(|id| format!(", `{id}`")).unwrap_or_default();
    known("signature", Some(format!("{}{key}", verdict.signature)));
    let manifest = verdict.manifest.as_ref().and_then(|manifest| manifest.as_ref().ok());
    known("manifest", manifest.map(|manifest| display(&described(manifest))));
    let commands = manifest.map(|manifest| {
        let words = manifest.commands.iter().map(|(name, target)| format!("{name} is {target}"));
        display(&words.collect::<Vec<_>>().join(", "))
    });
    known("commands", commands.map(|text| if text.is_empty() { "none".to_owned() } else { text }));
    let content = verdict
        .deep
        .as_ref()
        .map(|counts| format!("{} files and {} blocks were read", counts.files, counts.blocks));
    known("content", content);
    let needs = verdict.loader.as_ref().map(|report| {
        let problems = report.problems.len();
        format!(
            "{} programs and {} libraries, {problems} problems",
            report.programs, report.libraries
        )
    });
    known("loader", needs);
    let compatible = verdict.compatibility.as_ref().map(|judged| match judged {
        Ok(()) => "yes".to_owned(),
        Err(error) => format!("no: {error}"),
    });
    known("compatible", compatible);
    let distribution = host.distribution.as_deref().map(display).unwrap_or("unknown".to_owned());
    known("host", Some(format!("{}, {distribution}", display(&host.system))));
    let arches = host.arches.join(", ");
    known("host runs", Some(format!("{arches}; kernel API {}", host.kernel_api)));
    known("pkgtool", Some(env!("CARGO_PKG_VERSION").to_owned()));
    let findings: Vec<String> = machine
        .iter()
        .filter(|finding| finding.state != State::Ok || finding.check == "run")
        .map(|finding| {
            let Finding { check, state, result, found, .. } = finding;
            format!("{:<8} {check}: {result}: {found}", state.name())
        })
        .collect();
    several("machine", &findings, "nothing to remark");
    lines.join("\n")
}

fn described(manifest: &Manifest) -> String {
    let isolation = manifest.isolation.map_or("not asked for", Isolation::name);
    format!(
        "{} {} for {}, kernel API {}, entry {}, isolation {isolation}",
        manifest.name, manifest.version, manifest.arch, manifest.kernel_api, manifest.entry
    )
}
