//! Writes a few small packages, made by the real writer, as seeds: `seeds FOLDER`.

use std::io::{Cursor, Read};
use std::path::Path;

use epk_format::signature::SigningKey;
use epk_format::write::{self, ContentId, Contents, Format, Options, Plan, PlanEntry};

const MANIFEST: &[u8] = b"name = \"n\"\nversion = \"1\"\narch = \"x86-64\"\nkernel_api = \"1.0\"\n\
    entry = \"/bin/app\"\n[commands]\ntool = \"/bin/tool\"\n";

struct Texts;

impl Contents for Texts {
    fn open(&self, id: ContentId, _path: &[u8]) -> std::io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(std::io::repeat(b'x').take(id.0 as u64)))
    }
}

struct Key(SigningKey);

impl write::Signer for Key {
    fn sign(
        &self,
        package_hash: &epk_format::digest::Sha256,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.sign(package_hash))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?;
    let folder = Path::new(&folder);
    let file = |path: &str, size: usize| PlanEntry::file(path, 0o755, ContentId(size), size as u64);
    let trees = [
        vec![],
        vec![file("empty", 0), file("one", 1)],
        vec![
            PlanEntry::folder("bin"),
            file("bin/app", 100),
            file("bin/tool", 200),
            PlanEntry::alias("commands", "bin"),
            file("deep/er/file", 40),
        ],
    ];
    let key = Key(SigningKey::from_seed(&[7; 32]));
    for (number, tree) in trees.into_iter().enumerate() {
        for (format, chunk_size) in [(Format::V1, 64), (Format::V2, 4096)] {
            let plan = Plan::new(format, tree.clone())?;
            for (kind, signer) in [("plain", None), ("signed", Some(&key as &dyn write::Signer))] {
                let options = Options { chunk_size, ..Options::default() };
                let mut image = Cursor::new(Vec::new());
                write::write(&plan, &Texts, MANIFEST, &options, signer, &(), &mut image)?;
                let image = image.into_inner();
                let path = b"\x07bin/app".as_slice();
                let range = [3_u32.to_le_bytes(), 90_u32.to_le_bytes()].concat();
                for (target, before) in [("open", &[][..]), ("lookup", path), ("blocks", &range)] {
                    let target = folder.join(target);
                    std::fs::create_dir_all(&target)?;
                    let name = format!("{kind}-{format}-{number}");
                    std::fs::write(target.join(name), [before, &image].concat())?;
                }
            }
        }
    }
    for (target, bytes) in [("manifest", MANIFEST.to_vec()), ("signature", sign(&key.0))] {
        std::fs::create_dir_all(folder.join(target))?;
        std::fs::write(folder.join(target).join("seed"), bytes)?;
    }
    for target in ["round_trip", "differential"] {
        std::fs::create_dir_all(folder.join(target))?;
    }
    Ok(())
}

fn sign(key: &SigningKey) -> Vec<u8> {
    key.sign(&epk_format::digest::Sha256::of(b"seed"))
}
