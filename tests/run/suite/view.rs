//! What an application sees of the host, and the host of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use epk_tests::app::{App, Stage};
use epk_tests::tool::Outcome;
use epk_tests::wait;
use nix::unistd::{getegid, geteuid};

use super::{output, run};

#[test]
fn the_working_folder_is_user_data_and_lasts() {
    let stage = Stage::new(&App::script("pwd; cat notes 2>/dev/null; echo run $1 >> notes"));
    assert_eq!(output(&mut stage.run(["1"])), "/user-data\n");
    assert_eq!(output(&mut stage.run(["2"])), "/user-data\nrun 1\n");
    assert_eq!(output(&mut stage.run(["3"])), "/user-data\nrun 1\nrun 2\n");
    let notes = stage.user_data().join("notes");
    assert_eq!(fs::read_to_string(&notes).expect("on the host"), "run 1\nrun 2\nrun 3\n");
    let owner = fs::metadata(&notes).expect("a file");
    assert_eq!((owner.uid(), owner.gid()), (geteuid().as_raw(), getegid().as_raw()));
    let folder = fs::metadata(stage.user_data()).expect("a folder");
    assert_eq!(folder.mode() & 0o777, 0o700, "others may look at the application's data");
}

#[test]
fn each_package_has_data_of_its_own() {
    let one = Stage::new(&App::script("touch mine"));
    run(&one);
    let mut app = App::script("ls");
    app.name = "org.example.other/../app".into();
    fs::write(one.image(), app.image()).expect("writable");
    assert_eq!(run(&one), "", "it sees another's files");
    let mut folders: Vec<_> = fs::read_dir(one.data_home().join("epk/data"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    folders.sort();
    assert_eq!(folders, ["org.example.app", "org.example.other%2F..%2Fapp"]);
}

#[test]
fn the_package_cannot_be_written() {
    let script = "for try in 'echo > /package/new' 'echo >> /package/file' 'rm /package/file' \
        'mkdir /package/d' 'chmod 777 /package/file' 'mv /package/file /package/f' \
        'ln -s x /package/l' 'touch /package/file' 'echo > /new-at-the-root' 'mkdir /d'\n\
        do sh -c \"$try\" 2>&1 && echo \"worked: $try\"; done; cat /package/file; exit 0";
    let stage = Stage::new(&App::script(script).with_file("file", "content"));
    let text = run(&stage);
    let (refusals, content) = text.rsplit_once('\n').expect("lines");
    assert_eq!(content, "content");
    assert_eq!(refusals.lines().count(), 10, "{refusals}");
    for line in refusals.lines() {
        assert!(line.contains("Read-only file system"), "{line}");
    }
}

#[test]
fn the_package_is_all_there() {
    let app =
        App::script("cd /package; find . | sort; cat manifest.toml; stat -c %a bin/app data/f")
            .with_file("data/f", "x");
    let stage = Stage::new(&app);
    let expected = format!(
        ".\n./bin\n./bin/app\n./data\n./data/f\n./manifest.toml\n{}755\n644\n",
        app.manifest()
    );
    assert_eq!(run(&stage), expected);
}

#[test]
fn mounts_inside_are_what_they_should_be() {
    let stage = Stage::new(&App::script("cat /proc/self/mountinfo"));
    let table = run(&stage);
    let at = |place: &str| {
        let mut lines = table.lines().filter(|l| l.split(' ').nth(4) == Some(place));
        let line = lines.next().unwrap_or_else(|| panic!("nothing at {place}:\n{table}"));
        assert!(lines.next().is_none(), "two mounts at {place}:\n{table}");
        line
    };
    let package = at("/package");
    for word in ["ro,", "nosuid", "nodev", " - fuse.epkfs "] {
        assert!(package.contains(word), "no `{word}`: {package}");
    }
    assert!(package.contains(&*stage.image().to_string_lossy()), "{package}");
    assert!(at("/").contains("ro,"), "{}", at("/"));
    at("/user-data");
    assert!(!table.contains(".epk-old-root"), "the old root is still there:\n{table}");
}

#[test]
fn user_and_group_are_the_same_as_outside() {
    let stage = Stage::new(&App::script("id -u; id -g; stat -c '%u %g' /user-data /package"));
    let (user, group) = (geteuid(), getegid());
    let expected = format!("{user}\n{group}\n{user} {group}\n{user} {group}\n");
    assert_eq!(run(&stage), expected);
}

#[test]
fn the_host_is_seen_as_it_is() {
    let stage =
        Stage::new(&App::script("ls -A /; echo ==; ls -A /usr; cat \"$1\"; ls -A /dev/null"));
    let marker = stage.folder().join("own-marker");
    fs::write(&marker, "a file below /tmp\n").expect("writable");
    let text = output(&mut stage.run([&marker]));
    let (root, rest) = text.split_once("==\n").expect("the mark");
    let listed = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(path).expect("a folder").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let mut expected = listed("/");
    expected.extend(["package".to_owned(), "user-data".to_owned()]);
    let mut found: Vec<&str> = root.lines().collect();
    found.sort_unstable();
    expected.sort();
    expected.dedup();
    assert_eq!(found, expected);
    let usr: std::collections::BTreeSet<String> = listed("/usr").into_iter().collect();
    let rest: Vec<&str> = rest.lines().collect();
    let (seen, tail) = rest.split_at(rest.len() - 2);
    assert_eq!(
        seen.iter().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>(),
        usr
    );
    assert_eq!(tail, ["a file below /tmp", "/dev/null"]);
}

#[test]
fn what_happens_on_the_host_meanwhile_is_seen() {
    let stage =
        Stage::new(&App::script("echo ready; read path; cat \"$path\"; echo > \"$path.answer\""));
    let mut child =
        stage.run([""; 0]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    let late = stage.folder().join("own-late");
    fs::write(&late, "written later\n").expect("writable");
    let mut stdin = child.stdin.take().expect("a pipe");
    writeln!(stdin, "{}", late.display()).expect("it reads");
    assert_eq!(lines.next().expect("a line").expect("text"), "written later");
    assert!(wait::for_end(&mut child).success());
    assert!(
        stage.folder().join("own-late.answer").exists(),
        "the host's folders are not the host's"
    );
}

#[test]
fn the_data_folder_may_lie_behind_a_link() {
    let stage = Stage::new(&App::script("pwd; echo x > file"));
    let (real, link) = (stage.folder().join("own-real"), stage.folder().join("own-link"));
    fs::create_dir(&real).expect("a folder");
    std::os::unix::fs::symlink("own-real", &link).expect("a link");
    let mut command = stage.run([""; 0]);
    assert_eq!(output(command.env("XDG_DATA_HOME", &link)), "/user-data\n");
    assert!(real.join("epk/data/org.example.app/file").exists());
}

#[test]
fn without_an_absolute_xdg_data_home_it_is_below_home() {
    let stage = Stage::new(&App::script("echo x > file"));
    let home = stage.folder().join("own-home");
    fs::create_dir(&home).expect("a folder");
    for (n, value) in [None, Some(""), Some("relative")].into_iter().enumerate() {
        let mut command = stage.run([""; 0]);
        command.env_remove("XDG_DATA_HOME").env("HOME", &home);
        if let Some(value) = value {
            command.env("XDG_DATA_HOME", value);
        }
        assert_eq!(output(&mut command), "", "case {n}");
        let file = home.join(".local/share/epk/data/org.example.app/file");
        fs::remove_file(file).expect("it is there");
    }
    stage.is_left_clean();
}

#[test]
fn packages_are_found_by_relative_paths_and_links() {
    let stage = Stage::new(&App::script("cat /package/f").with_file("f", "yes"));
    let link = stage.folder().join("own-link.epk");
    std::os::unix::fs::symlink("app.epk", &link).expect("a link");
    for name in ["app.epk", "./app.epk", "data/../app.epk", "own-link.epk"] {
        let mut command = stage.run([""; 0]);
        let mut relative = epk_tests::tool::pkgtool();
        relative.arg("run").arg(name).current_dir(stage.folder());
        for (key, value) in command.get_envs() {
            relative.env(key, value.unwrap_or_default());
        }
        command.stdin(Stdio::null());
        assert_eq!(output(&mut relative), "yes", "{name}");
    }
}

#[test]
fn nothing_shows_in_the_hosts_table_of_mounts() {
    let stage = Stage::new(&App::script("echo ready; read line; exit 0"));
    let before = stage.mounts();
    assert_eq!(before, Vec::<String>::new());
    let mut child =
        stage.run([""; 0]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    assert_eq!(stage.mounts(), before, "while it runs");
    assert!(!std::path::Path::new("/package").exists(), "the host has /package");
    assert!(!std::path::Path::new("/user-data").exists(), "the host has /user-data");
    // Launcher and server are outside of the application's mounts, too: they would keep them alive.
    let outside = [child.id().cast_signed(), stage.server(child.id()).as_raw()];
    for pid in stage.processes() {
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let inside = table.contains(" /package ");
        assert_eq!(inside, !outside.contains(&pid), "process {pid}");
    }
    drop(child.stdin.take());
    wait::for_end(&mut child);
    stage.is_left_clean();
}

#[test]
fn an_application_may_make_namespaces_and_run_packages_itself() {
    // Its own package again, from inside: one more user namespace, one more view.
    let stage = Stage::new(
        &App::script(
            "if [ \"$1\" = inner ]; then cat /package/f; else exec \"$1\" run \"$2\" inner; fi",
        )
        .with_file("f", "from within"),
    );
    let tool = epk_tests::binaries::binary("pkgtool");
    let mut command = stage.run([tool.as_os_str(), stage.image().as_os_str()]);
    let done = Outcome::of(&mut command).exits(0);
    assert_eq!(done.text(), "from within", "{}", done.stderr);
    stage.is_left_clean();
}
