//! What an installed tree is called: a digest of all that decides about what is in it.

use sha2::{Digest, Sha256};

use super::{Means, Wish};
use crate::interpreter::Language;

/// Changes whenever the same would be installed differently.
const FORMAT: &str = "1";

/// The first 32 hex digits of SHA-256 over what is asked for, what it is for, and how it is installed. Not over where the
/// packages come from: another registry is to have the same ones.
pub(super) fn of(wish: &Wish, means: &Means) -> String {
    let mut digest = Sha256::new();
    let (major, minor) = means.interpreter.version;
    // The ABI of Node.js is in its platform; npm's result does not depend on more of its version.
    let version = match wish.language {
        Language::Node => String::new(),
        Language::Python => format!("{major}.{minor}"),
    };
    let platform = &means.interpreter.platform;
    let folder = wish.folder.to_string_lossy();
    let scripts = if means.install.scripts { "scripts" } else { "" };
    for part in [FORMAT, wish.language.runtime().as_str(), &version, platform, &folder, scripts] {
        add(&mut digest, part.as_bytes());
    }
    for (path, bytes) in &wish.inputs {
        add(&mut digest, path.to_string_lossy().as_bytes());
        add(&mut digest, bytes);
    }
    digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// With its length, so that no two lists of parts look the same.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use evoke_core::manifest::Install;

    use super::*;
    use crate::interpreter::Interpreter;

    #[test]
    fn whatever_changes_the_result_changes_the_digest() {
        let wish = |text: &str| Wish {
            language: Language::Python,
            folder: PathBuf::new(),
            file: "requirements.txt".to_owned(),
            inputs: BTreeMap::from([("requirements.txt".into(), text.as_bytes().to_vec())]),
            names: Vec::new(),
        };
        let means = |minor: u32, platform: &str, scripts: bool| Means {
            interpreter: Interpreter {
                program: "/usr/bin/python3".to_owned(),
                trees: Vec::new(),
                version: (3, minor),
                platform: platform.to_owned(),
            },
            pip: PathBuf::new(),
            install: Install { scripts },
        };
        let usual = of(&wish("idna"), &means(11, "cpython-311-x86_64", false));
        assert_eq!(usual, of(&wish("idna"), &means(11, "cpython-311-x86_64", false)));
        for other in [
            of(&wish("idna==3"), &means(11, "cpython-311-x86_64", false)),
            of(&wish("idna"), &means(12, "cpython-311-x86_64", false)),
            of(&wish("idna"), &means(11, "cpython-311-aarch64", false)),
            of(&wish("idna"), &means(11, "cpython-311-x86_64", true)),
        ] {
            assert_ne!(usual, other);
        }
    }
}
