//! The page: one file of HTML that needs no server, no network and no script. What is pointed at
//! says what it is.

use std::fmt::{Arguments, Write as _};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use driftpm::page::html::{escaped, head};
use epk_format::{Package, path};
use indicatif::HumanBytes;

use super::treemap::{Rect, What, has_name, layout};
use super::{Contents, Entry};

const STYLE: &str = include_str!("style.css");

/// The pictures' width and heights, in pixels of theirs; a browser makes them as wide as its
/// window.
const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 700.0;
const STRIP: f64 = 160.0;

/// Most rows of a table.
const MOST_ROWS: usize = 200;

/// Most names of files that share something.
const MOST_NAMES: usize = 8;

/// Width of a letter, about.
const LETTER: f64 = 6.5;

/// The page of a package.
pub(crate) fn to_html(package: &Package<File>, file: &Path, contents: &Contents) -> String {
    let mut page = Page(String::new());
    let name = file.file_name().unwrap_or(file.as_os_str());
    let title = path::display(name.as_bytes()).into_owned();
    page.0.push_str(&head(&title, STYLE, None));
    page.add(format_args!("<main>\n<h1>{}</h1>\n", escaped(&title)));
    page.summary(package, contents);
    page.treemap(contents);
    if !contents.start.is_empty() || contents.strangers > 0 {
        page.start(package, contents);
    }
    page.sharing(contents);
    page.largest(contents);
    page.add(format_args!("</main>\n</body>\n</html>\n"));
    page.0
}

struct Page(String);

impl Page {
    /// Writing to a string cannot fail.
    fn add(&mut self, text: Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }

    fn summary(&mut self, package: &Package<File>, contents: &Contents) {
        let manifest = package.parse_manifest().ok();
        let root = contents.entries.first();
        let (size, stored) = root.map_or((0, 0), |root| (root.size, root.stored));
        let saved: u64 = contents.shared.iter().map(super::Shared::saved).sum();
        let whose = manifest.map(|manifest| {
            let text = format!("{} {} for {}", manifest.name, manifest.version, manifest.arch);
            path::display(text.as_bytes()).into_owned()
        });
        self.add(format_args!("<table>\n"));
        for (name, value) in [
            ("package", whose.unwrap_or_else(|| "no good manifest".to_owned())),
            ("format", package.format().to_string()),
            ("hash", format!("sha256:{}", package.package_hash())),
            ("image", bytes(package.image_size())),
            ("files", contents.files().count().to_string()),
            ("content", bytes(size)),
            (
                "content, packed",
                format!("{} ({}), shared bytes at each file", bytes(stored), percent(stored, size)),
            ),
            (
                "blocks",
                format!(
                    "{} of {} stored bytes",
                    package.block_count(),
                    bytes(contents.blocks_stored)
                ),
            ),
            ("shared between files", format!("{} not stored again", bytes(saved))),
        ] {
            self.add(format_args!(
                "<tr><th scope=\"row\">{name}</th><td><bdi>{}</bdi></td></tr>\n",
                escaped(&value)
            ));
        }
        self.add(format_args!("</table>\n"));
    }

    fn treemap(&mut self, contents: &Contents) {
        self.add(format_args!(
            "<h2>Files by size</h2>\n<p>The area is the size. Colours say how much is left of it in \
             the image. Dashed: other files have some of its bytes, too. Blue: a start reads it.</p>\n\
             <svg viewBox=\"0 0 {WIDTH} 30\" role=\"img\" aria-label=\"colours\">\n"
        ));
        for tenth in 0..=10_u32 {
            let x = f64::from(tenth) * WIDTH / 11.0;
            let text = if tenth == 10 { "all".to_owned() } else { format!("{} %", 10 * tenth) };
            self.add(format_args!(
                "<rect class=\"p{tenth}\" x=\"{x:.1}\" y=\"0\" width=\"{:.1}\" height=\"22\"/>\
                 <text x=\"{:.1}\" y=\"15\">{text}</text>\n",
                WIDTH / 11.0,
                x + 6.0
            ));
        }
        self.add(format_args!(
            "</svg>\n<svg id=\"map\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"files by size\">\n"
        ));
        for tile in layout(contents, WIDTH, HEIGHT) {
            match tile.what {
                What::Entry(place) => {
                    let Some(entry) = contents.entries.get(place) else { continue };
                    self.entry(tile.rect, entry);
                }
                What::Rest(count, size) => {
                    self.rect(tile.rect, "o", &format!("{count} smaller: {}", bytes(size)), None);
                }
            }
        }
        self.add(format_args!("</svg>\n"));
    }

    fn entry(&mut self, rect: Rect, entry: &Entry) {
        let path = shown(entry);
        let mut title = format!("{path}\n{}, packed {}", bytes(entry.size), bytes(entry.stored));
        let _ = write!(title, " ({})", percent(entry.stored, entry.size));
        if entry.shared > 0 {
            let _ = write!(title, "\n{} shared", bytes(entry.shared));
        }
        if !entry.is_folder && entry.names > 1 {
            let _ = write!(title, "\n{} names", entry.names);
        }
        if let Some(order) = entry.touched {
            let _ = write!(title, "\nread at start: number {}", order + 1);
        }
        let class = match (entry.is_folder, entry.tenths()) {
            (true, _) => "d".to_owned(),
            (false, None) => "e".to_owned(),
            (false, Some(tenths)) => {
                let shared = if entry.shared > 0 { " s" } else { "" };
                let touched = if entry.touched.is_some() { " t" } else { "" };
                format!("p{tenths}{shared}{touched}")
            }
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = match entry.touched {
            Some(order) => format!("{} {name}", order + 1),
            None => name.to_owned(),
        };
        self.rect(rect, &class, &title, Some(&name));
    }

    fn rect(&mut self, rect: Rect, class: &str, title: &str, name: Option<&str>) {
        let Rect { x, y, width, height } = rect;
        self.add(format_args!(
            "<g><title>{}</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             width=\"{width:.1}\" height=\"{height:.1}\"/>",
            escaped(title)
        ));
        // A number of letters that is surely small.
        let room = ((width - 6.0) / LETTER).clamp(0.0, 500.0) as usize;
        if let Some(name) = name.filter(|_| has_name(rect) && room > 2) {
            let long = name.chars().count() > room;
            let mut text: String = name.chars().take(if long { room - 1 } else { room }).collect();
            if long {
                text.push('…');
            }
            self.add(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 3.0,
                y + 11.0,
                escaped(&text)
            ));
        }
        self.add(format_args!("</g>\n"));
    }

    fn start(&mut self, package: &Package<File>, contents: &Contents) {
        let files: Vec<&Entry> =
            contents.start.iter().filter_map(|place| contents.entries.get(*place)).collect();
        let stored: u64 = files.iter().map(|entry| entry.stored).sum();
        self.add(format_args!(
            "<h2>What a start reads</h2>\n<p>{} files, {} packed; {} lines of the profile name no \
             file of this package, or one again. From left to right the order of the first reads, \
             from top to bottom the place in the image: what lies on a line without jumps is read \
             in one go.</p>\n\
             <svg id=\"start\" viewBox=\"0 0 {WIDTH} {STRIP}\" role=\"img\" aria-label=\"places of \
             what a start reads\">\n<line x1=\"0\" y1=\"0\" x2=\"{WIDTH}\" y2=\"0\"/><line x1=\"0\" \
             y1=\"{STRIP}\" x2=\"{WIDTH}\" y2=\"{STRIP}\"/>\n",
            files.len(),
            bytes(stored),
            contents.strangers
        ));
        let image = package.image_size().max(1) as f64;
        for (order, entry) in files.iter().enumerate() {
            let Some(offset) = entry.offset else { continue };
            let x = (order as f64 + 0.5) * WIDTH / files.len() as f64;
            self.add(format_args!(
                "<g><title>{}</title><circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\"/></g>\n",
                escaped(&format!("{} {}", order + 1, shown(entry))),
                offset as f64 / image * STRIP
            ));
        }
        self.add(format_args!("</svg>\n"));
        let mut sum = 0_u64;
        let rows = files.iter().enumerate().map(|(order, entry)| {
            sum = sum.saturating_add(entry.stored);
            let numbers =
                vec![(order + 1).to_string(), bytes(entry.size), bytes(entry.stored), bytes(sum)];
            (numbers, vec![shown(entry)])
        });
        let rows: Vec<_> = rows.collect();
        self.table("start-list", &["", "size", "packed", "together"], "file", rows);
    }

    fn sharing(&mut self, contents: &Contents) {
        self.add(format_args!("<h2>What files share</h2>\n"));
        if contents.shared.is_empty() {
            self.add(format_args!(
                "<p>No two files have blocks or parts of blocks together.</p>\n"
            ));
            return;
        }
        let rows = contents.shared.iter().map(|shared| {
            let names = shared.files.iter().take(MOST_NAMES);
            let mut names: Vec<String> =
                names.filter_map(|place| contents.entries.get(*place)).map(shown).collect();
            if shared.files.len() > MOST_NAMES {
                names.push(format!("and {} more", shared.files.len() - MOST_NAMES));
            }
            let numbers =
                vec![bytes(shared.saved()), bytes(shared.bytes), shared.files.len().to_string()];
            (numbers, names)
        });
        let rows: Vec<_> = rows.collect();
        self.table("shared", &["saved", "shared", "files"], "which", rows);
    }

    fn largest(&mut self, contents: &Contents) {
        self.add(format_args!("<h2>The largest files</h2>\n"));
        let mut files: Vec<&Entry> = contents.files().collect();
        files.sort_by_key(|entry| std::cmp::Reverse(entry.size));
        let rows = files.iter().map(|entry| {
            let left = percent(entry.stored, entry.size);
            (vec![bytes(entry.size), bytes(entry.stored), left], vec![shown(entry)])
        });
        let rows: Vec<_> = rows.collect();
        self.table("largest", &["size", "packed", "left"], "file", rows);
    }

    /// A table of numbers, and texts in the last column.
    fn table(
        &mut self,
        id: &str,
        heads: &[&str],
        last: &str,
        rows: Vec<(Vec<String>, Vec<String>)>,
    ) {
        self.add(format_args!("<table id=\"{id}\">\n<thead><tr>"));
        for head in heads {
            self.add(format_args!("<th scope=\"col\" class=\"n\">{head}</th>"));
        }
        self.add(format_args!("<th scope=\"col\">{last}</th></tr></thead>\n<tbody>\n"));
        let more = rows.len().saturating_sub(MOST_ROWS);
        for (numbers, texts) in rows.into_iter().take(MOST_ROWS) {
            self.add(format_args!("<tr>"));
            for number in numbers {
                self.add(format_args!("<td class=\"n\">{}</td>", escaped(&number)));
            }
            // Each for itself, so that one that turns the direction of writing turns no other.
            let texts: Vec<String> = texts
                .iter()
                .map(|text| format!("<code><bdi>{}</bdi></code>", escaped(text)))
                .collect();
            self.add(format_args!("<td>{}</td></tr>\n", texts.join("<br>")));
        }
        self.add(format_args!("</tbody>\n</table>\n"));
        if more > 0 {
            self.add(format_args!("<p>and {more} more</p>\n"));
        }
    }
}

fn shown(entry: &Entry) -> String {
    format!("/{}", path::display(&entry.path))
}

fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

fn percent(part: u64, whole: u64) -> String {
    match part.saturating_mul(100).checked_div(whole) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}
