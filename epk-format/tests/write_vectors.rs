//! Packages made by EXOS's own packer, taken apart and written again: everything but the zlib
//! streams must come out the same. Needs `EPK_VECTORS`, the folder of the shared vectors.

mod support;

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use epk_format::time::PackedTime;
use epk_format::write::{self, Compression, Options, Plan, PlanEntry, Signer};
use support::{Decoded, Files};

struct Verbatim(Vec<u8>);

impl Signer for Verbatim {
    fn sign(
        &self,
        _: &epk_format::digest::Sha256,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.clone())
    }
}

#[test]
fn exos_packages_come_out_the_same() {
    let Some(folder) = std::env::var_os("EPK_VECTORS").map(|root| PathBuf::from(root).join("epk"))
    else {
        eprintln!("skipped: EPK_VECTORS is not set");
        return;
    };
    let mut seen = 0;
    for file in std::fs::read_dir(folder.join("valid")).expect("EPK_VECTORS has epk/valid/") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "epk") {
            rewrite(&path);
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} packages");
}

fn rewrite(path: &std::path::Path) {
    let name = path.display();
    let bytes = std::fs::read(path).expect("readable");
    let theirs = Decoded::new(&bytes);
    let text = std::fs::read_to_string(path.with_extension("cmd")).expect("readable");
    let command = text.lines().find(|line| line.starts_with("epk-pack")).expect("a command");
    let option = |wanted: &str| {
        let mut words = command.split_whitespace().skip_while(|&word| word != wanted).skip(1);
        words.next().map(str::to_owned)
    };
    let options = Options {
        chunk_size: option("--chunk-size").map_or(65_536, |size| size.parse().expect("a size")),
        compression: match option("--compression").as_deref() {
            Some("none") => Compression::None,
            Some("auto") => Compression::Auto,
            _ => Compression::Zlib,
        },
        level: option("--compression-level").map_or(9, |level| level.parse().expect("a level")),
        threads: NonZeroUsize::new(3).expect("some"),
    };

    let mut files = Files::default();
    let entries = theirs.entries.iter().map(|entry| {
        let mut planned = match entry.node_type {
            1 => files.add(&entry.path, entry.permissions, theirs.content(entry)),
            2 => PlanEntry::folder(entry.path.as_str()),
            _ => PlanEntry::alias(entry.path.as_str(), entry.target.as_str()),
        };
        planned.modified = PackedTime(entry.modified);
        planned
    });
    let plan = Plan::new(entries.collect()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let section = |(offset, size): (u64, u64)| &bytes[offset as usize..(offset + size) as usize];
    let signer = Verbatim(section(theirs.signature).to_vec());
    let signer: Option<&dyn Signer> = (theirs.signature.1 > 0).then_some(&signer);
    let mut out = Cursor::new(Vec::new());
    write::write(&plan, &files, section(theirs.manifest), &options, signer, &(), &mut out)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let bytes = out.into_inner();
    let ours = Decoded::new(&bytes);

    assert_eq!(ours.flags, theirs.flags, "{name}");
    assert_eq!((ours.toc, ours.block_table), (theirs.toc, theirs.block_table), "{name}");
    assert_eq!(ours.manifest.1, theirs.manifest.1, "{name}");
    assert_eq!(ours.signature.1, theirs.signature.1, "{name}");
    // The table of contents holds no offset into the data: it is the same to the last bit.
    let toc = ours.toc.0 as usize..(ours.toc.0 + ours.toc.1) as usize;
    assert_eq!(bytes[toc], *section(theirs.toc), "{name}: table of contents");
    assert_eq!(ours.blocks.len(), theirs.blocks.len(), "{name}");
    for (ours, theirs) in ours.blocks.iter().zip(&theirs.blocks) {
        assert_eq!(ours.plain_size, theirs.plain_size, "{name}");
        assert_eq!(ours.hash, theirs.hash, "{name}");
        if options.compression != Compression::Auto {
            assert_eq!(ours.method, theirs.method, "{name}");
        }
    }
    for (ours_entry, theirs_entry) in ours.entries.iter().zip(&theirs.entries) {
        assert!(ours.content(ours_entry) == theirs.content(theirs_entry), "{name}");
    }
    if options.compression == Compression::None && signer.is_none() {
        assert_eq!(bytes, std::fs::read(path).expect("readable"), "{name}: byte for byte");
    }
}
