//! The page of a repository in a browser: texts stay texts, the search searches, and without
//! scripts everything is there to read.

use super::*;

/// Texts that would rather be something else.
const TITLE: &str = "</title><script>document.title='taken'</script> & <b>Things</b>";
const NAMES: [&str; 3] =
    ["<img src=x onerror=document.title='taken'>", "\u{202e}txet.epk'\"", "org.example.plain"];
const DESCRIPTIONS: [&str; 3] =
    ["--></script><script>document.title='taken'</script>", "javascript:alert(1)", "Says hello"];

/// A repository with these packages. Gives the path of its page.
fn hostile() -> (Place, PathBuf) {
    let place = Place::app();
    place.run(&["keygen", "repo.key"]).ok();
    pkgtool(&place, &["repo", "init", "repo", "--title", TITLE]).ok();
    for (number, (name, description)) in NAMES.into_iter().zip(DESCRIPTIONS).enumerate() {
        let quoted = |text: &str| Value::from(text).to_string();
        let manifest = MANIFEST
            .replace("\"org.example.app\"", &quoted(name))
            .replace("1.2.3", &format!("1.{number}<script>"));
        let more = format!(
            "description = {}\n[commands]\ntool-{number} = '/bin/app'\n",
            quoted(description)
        );
        place.file("app/manifest.toml", (manifest + &more).as_bytes(), 0o644);
        place.run(&["pack", "app", "-o", "app.epk", "--force"]).ok();
        pkgtool(&place, &["repo", "add", "repo", "app.epk", "--sign", "repo.key"]).ok();
    }
    let page = place.path("repo/index.html");
    (place, page)
}

/// The text as it stands in a document that a browser has written.
fn written(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn texts_stay_texts() {
    let (place, page) = hostile();
    let text = fs::read_to_string(&page).expect("there");
    // A page that forbids scripts, as a browser has it that runs none.
    let (head, tail) = text.split_once("script-src '").expect("a policy");
    let (_, tail) = tail.split_once('\'').expect("a policy");
    let without = place.path("repo/without.html");
    fs::write(&without, format!("{head}script-src 'none'{tail}")).expect("written");
    let Some(plain) = browser::document(&without, "") else { return };
    let full = browser::document(&page, "").expect("a browser");
    for document in [&plain, &full] {
        assert!(document.contains(&format!("<title>{}</title>", written(TITLE))), "{document}");
        for text in NAMES.iter().chain(&DESCRIPTIONS) {
            assert!(
                document.contains(&format!("<bdi>{}</bdi>", written(text))),
                "{text}: {document}"
            );
        }
        for (number, part) in ["tool-0", "1.1&lt;script&gt;", "PackageHash"].iter().enumerate() {
            assert!(document.contains(part), "{number}: {document}");
        }
        assert!(!document.contains("<img") && !document.contains("<b>"), "{document}");
        // The page's own, and no other.
        assert_eq!(document.matches("<script").count(), 1, "{document}");
        assert_eq!(document.matches("<tbody id=\"p-").count(), 3, "{document}");
    }
    assert!(plain.contains("role=\"search\" hidden"), "a field that does nothing: {plain}");
    assert!(!full.contains("role=\"search\" hidden"), "{full}");
    // Each package's file can be had from the page.
    for file in names(&place.path("repo/packages")) {
        let address = file.replace('%', "%25").replace('@', "%40").replace('+', "%2B");
        assert!(full.contains(&format!("href=\"./packages/{address}\"")), "{address}: {full}");
    }
}

#[test]
fn the_search_searches() {
    let (_place, page) = hostile();
    for (words, found, status) in [
        ("", &[0, 1, 2][..], "3 packages"),
        ("#q=says%20HELLO", &[2], "1 of 3 packages"),
        ("#q=tool-1", &[1], "1 of 3 packages"),
        ("#q=%3Cimg", &[0], "1 of 3 packages"),
        ("#q=%3Cscript%3E%20tool-0", &[0], "1 of 3 packages"),
        ("#q=nothing", &[], "0 of 3 packages"),
        ("#q=%zz", &[0, 1, 2], "3 packages"),
    ] {
        let Some(document) = browser::document(&page, words) else { return };
        let shown = |name: &str| {
            let name = name.replace('&', "&amp;").replace('"', "&quot;");
            // In attributes browsers write angle brackets as they are, or escaped.
            [name.clone(), written(&name)]
                .iter()
                .any(|name| document.contains(&format!("<tbody id=\"p-{name}\">")))
        };
        let shown: Vec<usize> = (0..3).filter(|&number| shown(NAMES[number])).collect();
        assert_eq!(shown, found, "{words}: {document}");
        assert!(document.contains(&format!("role=\"status\">{status}<")), "{words}: {document}");
        assert!(!document.contains(">taken<"), "{words}: {document}");
    }
}
