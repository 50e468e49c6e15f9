//! What `spec/conformance.md` says: every kind of package, in both formats, under every command
//! that takes one, as every kind of user, on every processor.
//!
//! The tables there are made by this test: `EPK_UPDATE=1` writes them, each run for the processor
//! that the tool under test was built for. What was not tried somewhere stands there as a hole,
//! and a hole fails the test.

mod claims;
mod packages;
mod table;
mod trial;

use std::fs;
use std::path::Path;

use epk_format::Format;
use epk_tests::places::places;

use packages::KINDS;
use table::{HOLE, Table};
use trial::{processor, try_package};

#[test]
fn every_package_does_everywhere_what_the_specification_says() {
    let places = places();
    let processor = processor(&places[0].tool());
    let mut table = Table::new(processor, places.iter().map(|place| place.name).collect());
    let mut wrong = Vec::new();
    for kind in KINDS {
        for (format, name) in [(Format::V1, "1.0"), (Format::V2, "2.0")] {
            let Some(image) = (kind.make)(format) else {
                table.has_none(kind.name, name);
                continue;
            };
            for place in &places {
                let seen = try_package(place, &image, kind.options);
                if seen != kind.expected {
                    wrong.push(format!("{}, {name}, {}: {seen:?}", kind.name, place.name));
                }
                table.saw(kind.name, name, place.name);
            }
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/conformance.md");
    let text = fs::read_to_string(&path).expect("the specification");
    let made = table.put_into(&text);
    if std::env::var_os("EPK_UPDATE").is_some() {
        fs::write(&path, made).expect("writable");
        return;
    }
    let differs = text.lines().zip(made.lines()).find(|(has, should)| has != should);
    assert!(text == made, "`spec/conformance.md` is not what was seen, first: {differs:#?}");
    let holes: Vec<_> = text.lines().filter(|line| line.contains(HOLE)).collect();
    assert!(holes.is_empty(), "not tried: {holes:#?}");
}
