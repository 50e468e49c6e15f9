//! Pages as HTML: this one, and the pieces of which others are made.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use epk_format::digest::Sha256;

use super::{More, Page, Piece, Row};
use crate::relpath::RelPath;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

impl Page {
    /// The page as one HTML file.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut out = head(&self.title, STYLE, Some(SCRIPT));
        add(&mut out, format_args!("<main>\n<h1>{}</h1>\n", escaped(&self.title)));
        for paragraph in &self.intro {
            add(&mut out, format_args!("<p>{}</p>\n", pieces(paragraph)));
        }
        let noun = escaped(&self.noun);
        // A field that does nothing is shown to nobody: the script brings it out.
        add(
            &mut out,
            format_args!(
                "<div id=\"search\" role=\"search\" hidden>\n<label for=\"words\">Search {noun}: all \
                 words must occur</label><br>\n<input id=\"words\" type=\"search\" \
                 autocomplete=\"off\" spellcheck=\"false\">\n</div>\n\
                 <p id=\"count\" role=\"status\">{} {noun}</p>\n<table id=\"list\">\n<thead><tr>",
                self.rows.len()
            ),
        );
        for column in &self.columns {
            add(&mut out, format_args!("<th scope=\"col\">{}</th>", escaped(column)));
        }
        out.push_str("</tr></thead>\n");
        for row in &self.rows {
            self.row(&mut out, row);
        }
        add(
            &mut out,
            format_args!("</table>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"),
        );
        out
    }

    fn row(&self, out: &mut String, row: &Row) {
        let name = escaped(&row.name);
        add(
            out,
            format_args!("<tbody id=\"p-{name}\">\n<tr><th scope=\"row\"><bdi>{name}</bdi></th>"),
        );
        for cell in &row.cells {
            add(out, format_args!("<td>{}</td>", pieces(cell)));
        }
        out.push_str("</tr>\n");
        if let Some(more) = &row.more {
            add(out, format_args!("<tr><td colspan=\"{}\">", self.columns.len().max(1)));
            unfolding(out, more);
            out.push_str("</td></tr>\n");
        }
        out.push_str("</tbody>\n");
    }
}

fn unfolding(out: &mut String, more: &More) {
    let summary = escaped(&more.summary);
    add(out, format_args!("<details><summary>{summary}</summary>\n<table>\n<thead><tr>"));
    for column in &more.columns {
        add(out, format_args!("<th scope=\"col\">{}</th>", escaped(column)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &more.rows {
        out.push_str("<tr>");
        for cell in row {
            add(out, format_args!("<td>{}</td>", pieces(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</details>");
}

/// Writing to a string cannot fail.
fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// The beginning of a page up to the start of its body. Nothing but its own style and script, by
/// their hashes, may be used on it.
#[must_use]
pub fn head(title: &str, style: &str, script: Option<&str>) -> String {
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let scripts = script.map(|script| format!("script-src '{}'; ", hash(script)));
    add(
        &mut out,
        format_args!(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src '{}'; {}base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            hash(style),
            scripts.unwrap_or_default(),
            escaped(title)
        ),
    );
    out
}

/// How the page's policy names what it lets run.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::of(text.as_bytes()).as_bytes()))
}

fn pieces(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for (place, piece) in pieces.iter().enumerate() {
        if place > 0 {
            out.push(' ');
        }
        // Each text for itself, so that one that turns the direction of writing turns no other.
        match piece {
            Piece::Text(text) => add(&mut out, format_args!("<bdi>{}</bdi>", escaped(text))),
            Piece::Code(text) => {
                add(&mut out, format_args!("<code><bdi>{}</bdi></code>", escaped(text)));
            }
            Piece::Tag(text) => {
                add(&mut out, format_args!("<bdi class=\"tag\">{}</bdi>", escaped(text)));
            }
            Piece::Link { text, url } => link(&mut out, text, web_address(url)),
            Piece::File { text, path } => link(&mut out, text, file_address(path)),
        }
    }
    out
}

fn link(out: &mut String, text: &str, to: Option<String>) {
    let text = escaped(text);
    match to {
        Some(to) => add(
            out,
            format_args!(
                "<a href=\"{}\" rel=\"noopener noreferrer\"><bdi>{text}</bdi></a>",
                escaped(&to)
            ),
        ),
        None => add(out, format_args!("<bdi>{text}</bdi>")),
    }
}

/// An address that leads to the web and nowhere else, spelt as browsers understand it.
fn web_address(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (web && url.username().is_empty() && url.password().is_none()).then(|| url.to_string())
}

/// The address of a file below the page's folder.
fn file_address(path: &str) -> Option<String> {
    let mut address = String::from(".");
    for component in RelPath::parse(path).ok()?.components() {
        address.push('/');
        for byte in component.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                address.push(char::from(byte));
            } else {
                add(&mut address, format_args!("%{byte:02X}"));
            }
        }
    }
    Some(address)
}

/// The text as HTML, in elements and in attributes between double quotes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no place for them.
            other if other.is_control() && !matches!(other, '\t' | '\n') => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        for (text, expected) in [
            ("a & <b>", "a &amp; &lt;b&gt;"),
            ("\"><script>", "&quot;&gt;&lt;script&gt;"),
            ("' onerror='x", "&#39; onerror=&#39;x"),
            ("&lt;", "&amp;lt;"),
            ("a\u{0}b\u{9b}\n", "a\u{fffd}b\u{fffd}\n"),
            ("naïve", "naïve"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn links_lead_to_the_web_or_below() {
        for (url, expected) in [
            ("https://a.example/x?y=1&z=\"", Some("https://a.example/x?y=1&z=%22")),
            ("HTTP://a.example", Some("http://a.example/")),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("file:///etc/passwd", None),
            ("https://user:word@a.example/", None),
            ("//a.example", None),
            ("x", None),
        ] {
            assert_eq!(web_address(url).as_deref(), expected, "{url}");
        }
        for (path, expected) in [
            ("a/b c.epk", Some("./a/b%20c.epk")),
            ("javascript:alert(1)", Some("./javascript%3Aalert%281%29")),
            ("../a", None),
            ("/a", None),
        ] {
            assert_eq!(file_address(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn everything_a_page_has_is_on_it() {
        let hostile = "</td><img src=x onerror=alert(1)>";
        let cell = || vec![Piece::text(hostile), Piece::code(hostile), Piece::Tag(hostile.into())];
        let page = Page {
            title: hostile.into(),
            intro: vec![cell()],
            noun: hostile.into(),
            columns: vec![hostile.into()],
            rows: vec![Row {
                name: hostile.into(),
                cells: vec![
                    cell(),
                    vec![Piece::Link { text: hostile.into(), url: hostile.into() }],
                ],
                more: Some(More {
                    summary: hostile.into(),
                    columns: vec![hostile.into()],
                    rows: vec![vec![vec![Piece::File {
                        text: hostile.into(),
                        path: hostile.into(),
                    }]]],
                }),
            }],
        };
        let html = page.to_html();
        assert!(!html.contains("<img"), "{html}");
        assert_eq!(html.matches("&lt;img src=x onerror=alert(1)&gt;").count(), 17);
        assert_eq!(html, page.to_html());
    }
}
