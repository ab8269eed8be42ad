//! Packages made on the spot, so that no test needs a registry: wheels, source archives and npm's tarballs.

use std::path::Path;
use std::process::Command;

/// Writes `name-version`, a module that has one `VALUE`, and which may want another package.
const WHEEL: &str = r#"
import sys, zipfile
folder, name, version, value, wants = sys.argv[1:]
info = f"{name}-{version}.dist-info"
with zipfile.ZipFile(f"{folder}/{name}-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}.py", f"VALUE = {value!r}\n")
    # Whatever runs this has loaded the module `site` for the folder.
    wheel.writestr(f"{name}.pth", f"import sys; sys.pth_of_{name} = True\n")
    wants = f"Requires-Dist: {wants}\n" if wants else ""
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wants}")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
"#;

/// Writes a source archive whose `setup.py` leaves a file in the folder it is in.
const SDIST: &str = r#"
import io, sys, tarfile
folder, name, version = sys.argv[1:]
def add(archive, path, text):
    info = tarfile.TarInfo(f"{name}-{version}/{path}")
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text.encode()))
with tarfile.open(f"{folder}/{name}-{version}.tar.gz", "w:gz") as archive:
    add(archive, "setup.py", f"open('{folder}/ran', 'w').write('1')\n")
    add(archive, "PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
"#;

/// Writes `name-1.0.0.tgz`, with a script that runs after it was installed.
const NPM: &str = r#"
import io, json, sys, tarfile
path, name, value, postinstall = sys.argv[1:]
package = {"name": name, "version": "1.0.0", "main": "index.js", "scripts": {"postinstall": postinstall}}
files = {"package.json": json.dumps(package), "index.js": f"exports.value = {value!r};\n"}
with tarfile.open(path, "w:gz") as archive:
    for file, text in files.items():
        info = tarfile.TarInfo(f"package/{file}")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
"#;

pub fn wheel(folder: &Path, name: &str, value: &str, wants: &str) {
    python(WHEEL, &[folder.to_str().unwrap(), name, "1.0", value, wants]);
}

pub fn sdist(folder: &Path, name: &str) {
    python(SDIST, &[folder.to_str().unwrap(), name, "1.0"]);
}

pub fn npm(name: &str, value: &str, postinstall: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.tgz");
    python(NPM, &[path.to_str().unwrap(), name, value, postinstall]);
    std::fs::read(path).unwrap()
}

fn python(script: &str, args: &[&str]) {
    let done = Command::new("python3").args(["-c", script]).args(args).status();
    assert!(done.expect("python3 is needed: apt install python3").success());
}
