//! A package's `.desktop` file (Desktop Entry Specification), made one that starts the package.

use std::fmt::Write as _;
use std::path::Path;

use epk_format::manifest::Manifest;

/// What an entry is made for.
pub(super) struct Target<'a> {
    /// This program.
    pub(super) pkgtool: &'a Path,
    /// The package.
    pub(super) package: &'a Path,
    pub(super) package_hash: &'a str,
    pub(super) manifest: &'a Manifest,
    /// The desktop file's name in the package, without its ending: what windows call themselves.
    pub(super) stem: &'a str,
}

/// An entry as it is installed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) text: String,
    /// What could not be taken over as it was.
    pub(super) warnings: Vec<String>,
}

/// The value of a key in the main group.
pub(super) fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != MAIN).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(split)
        .find_map(|(found, value)| (found == key).then_some(value))
        .filter(|value| !value.is_empty())
}

const MAIN: &str = "[Desktop Entry]";

fn split(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    Some((key.trim(), value.trim()))
}

/// Makes an entry start the package. `icon` gives the installed name of an icon, if it has one.
/// Refused, with a reason, is what is no application's entry.
pub(super) fn rewrite(
    text: &str,
    target: &Target<'_>,
    icon: impl Fn(&str) -> Option<String>,
) -> Result<Rewritten, &'static str> {
    if !text.lines().any(|line| line.trim() == MAIN) {
        return Err("has no group `[Desktop Entry]`");
    }
    if value(text, "Type").is_some_and(|kind| kind != "Application") {
        return Err("is not an application's: its `Type` is another");
    }
    if value(text, "Exec").is_none() {
        return Err("has no `Exec`");
    }
    let mut out = String::new();
    let mut warnings = Vec::new();
    for line in text.lines() {
        let (key, old) = split(line).unwrap_or(("", ""));
        match key.split('[').next().unwrap_or_default() {
            "Exec" => {
                let _ = writeln!(out, "Exec={}", command_line(old, target, &mut warnings));
            }
            "TryExec" => {
                let _ = writeln!(out, "TryExec={}", string(&target.pkgtool.to_string_lossy()));
            }
            "Icon" => match icon(old) {
                Some(new) => {
                    let _ = writeln!(out, "{key}={new}");
                }
                None => {
                    let _ = writeln!(out, "{line}");
                }
            },
            // Both go past `Exec`; and `/user-data` is the application's folder in any case.
            "DBusActivatable" | "Path" => {}
            _ => {
                let _ = writeln!(out, "{line}");
            }
        }
        if line.trim() == MAIN {
            let package = string(&target.package.to_string_lossy());
            let _ = writeln!(out, "X-EPK-Package={package}");
            let _ = writeln!(out, "X-EPK-PackageHash=sha256:{}", target.package_hash);
            // Desktops find a window's entry by the entry's name, which is another one now.
            if value(text, "StartupWMClass").is_none() {
                let _ = writeln!(out, "StartupWMClass={}", target.stem);
            }
        }
    }
    Ok(Rewritten { text: out, warnings })
}

/// `Exec`: what starts the program is replaced, its arguments stay as they are.
fn command_line(old: &str, target: &Target<'_>, warnings: &mut Vec<String>) -> String {
    let mut rest = old;
    let mut prefix = String::new();
    let (mut word, mut after) = first_word(rest);
    // `env NAME=value … program`
    if name_of(word) == "env" {
        while name_of(word) == "env" || is_assignment(word) {
            let raw = rest.get(..rest.len() - after.len()).unwrap_or_default();
            let _ = write!(prefix, "{} ", raw.trim());
            rest = after;
            (word, after) = first_word(rest);
        }
    }
    let program = name_of(word);
    let manifest = target.manifest;
    let by_target = || manifest.commands.iter().find(|(_, path)| name_of(path) == program);
    let command = if manifest.command(program).is_some() {
        program
    } else if name_of(&manifest.entry) == program {
        "--"
    } else if let Some((name, _)) = by_target() {
        name
    } else {
        warnings.push(format!("`Exec` starts `{program}`, which is no command: the entry runs"));
        "--"
    };
    let words =
        [&*target.pkgtool.to_string_lossy(), "run", &*target.package.to_string_lossy(), command];
    let words: Vec<String> = words.into_iter().map(argument).collect();
    format!("{prefix}{}{}{}", words.join(" "), if after.is_empty() { "" } else { " " }, after)
}

/// `NAME=value`
fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// The first word without quotes, and what comes after it.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, after) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
    };
    (word, after.trim_start())
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// An argument as `Exec` has it: quoted where it must be, and escaped as every string is.
fn argument(text: &str) -> String {
    let text = text.replace('%', "%%");
    if !text.contains(|c: char| " \t\n\"'\\><~|&;$*?#()`".contains(c)) {
        return text;
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '`' | '$' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    string(&quoted)
}

/// A value of the type string.
fn string(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            isolation: None,
            name: "n".into(),
            version: "1".into(),
            arch: "x86-64".into(),
            kernel_api: "1.0".into(),
            entry: "/bin/app".into(),
            commands: [("tool".to_owned(), "/bin/the-tool".to_owned())].into(),
        }
    }

    fn rewritten(text: &str) -> Result<Rewritten, &'static str> {
        let manifest = manifest();
        let target = Target {
            pkgtool: Path::new("/usr/bin/pkgtool"),
            package: Path::new("/home/u/my $ app%.epk"),
            package_hash: "00",
            manifest: &manifest,
            stem: "org.x",
        };
        rewrite(text, &target, |icon| (icon == "known").then(|| "epk-n-known".to_owned()))
    }

    #[test]
    fn programs_become_launches() {
        let launch = "/usr/bin/pkgtool run \"/home/u/my \\\\$ app%%.epk\"";
        let table = [
            ("app %F", "-- %F", 0),
            ("/usr/bin/tool --x \"a b\" %u", "tool --x \"a b\" %u", 0),
            ("\"/opt/x y/the-tool\"", "tool", 0),
            ("unknown %U", "-- %U", 1),
            ("", "", 0),
        ];
        for (exec, end, warnings) in table {
            let text = format!("[Desktop Entry]\nType=Application\nExec={exec}\n");
            let Ok(entry) = rewritten(&text) else {
                assert_eq!(exec, "");
                continue;
            };
            let line = format!("Exec={launch} {end}");
            assert!(entry.text.lines().any(|found| found == line), "{line} in {}", entry.text);
            assert_eq!(entry.warnings.len(), warnings, "{exec}");
        }
        let text = "[Desktop Entry]\nExec=env A=/b/c \"C=d e\" tool %F\n";
        let line = format!("Exec=env A=/b/c \"C=d e\" {launch} tool %F");
        let entry = rewritten(text).expect("good").text;
        assert!(entry.lines().any(|found| found == line), "{line} in {entry}");
    }

    #[test]
    fn the_rest_is_kept_but_for_what_goes_past_it() {
        let text = "# c\n[Desktop Entry]\nName=A\nName[de]=B\nIcon=known\nIcon[de]=other\n\
            TryExec=app\nDBusActivatable=true\nPath=/package\nExec=app\nMimeType=a/b;\n\
            StartupWMClass=W\n\n[Desktop Action new]\nExec=tool --new\nIcon=known\n";
        let entry = rewritten(text).expect("good");
        let expected = "# c\n[Desktop Entry]\nX-EPK-Package=/home/u/my $ app%.epk\n\
            X-EPK-PackageHash=sha256:00\nName=A\nName[de]=B\nIcon=epk-n-known\nIcon[de]=other\n\
            TryExec=/usr/bin/pkgtool\nExec=/usr/bin/pkgtool run \"/home/u/my \\\\$ app%%.epk\" --\n\
            MimeType=a/b;\nStartupWMClass=W\n\n[Desktop Action new]\n\
            Exec=/usr/bin/pkgtool run \"/home/u/my \\\\$ app%%.epk\" tool --new\nIcon=epk-n-known\n";
        assert_eq!(entry.text, expected);
        assert!(
            rewritten("[Desktop Entry]\nExec=app\n").expect("good").text.contains("WMClass=org.x")
        );
    }

    #[test]
    fn what_is_no_application_is_refused() {
        for text in ["", "Exec=x\n", "[Desktop Entry]\nType=Link\nExec=x\n", "[Desktop Entry]\n"] {
            assert!(rewritten(text).is_err(), "{text}");
        }
    }
}
