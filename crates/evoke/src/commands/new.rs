//! `evoke new`: a folder with a small working app, from the templates in this executable.

use std::fs;
use std::path::Path;

use evoke_core::id::AppName;
use serde_json::json;

use crate::cli::{NewArgs, Template};
use crate::exit::{Error, Exit, Result};
use crate::output::{self, Format, words};

/// A file of a template: its path in the new folder, and its text, in which `{{name}}` stands for the app's name.
type File = (&'static str, &'static str);

const TS: &[File] = &[
    ("evoke.toml", include_str!("../../templates/ts/evoke.toml")),
    ("hello.ts", include_str!("../../templates/ts/hello.ts")),
    ("tally.ts", include_str!("../../templates/ts/tally.ts")),
    ("evoke.d.ts", include_str!("../../templates/ts/evoke.d.ts")),
    ("tsconfig.json", include_str!("../../templates/ts/tsconfig.json")),
    ("README.md", include_str!("../../templates/ts/README.md")),
    (".gitignore", include_str!("../../templates/ts/gitignore")),
];

const PYTHON: &[File] = &[
    ("evoke.toml", include_str!("../../templates/python/evoke.toml")),
    ("hello.py", include_str!("../../templates/python/hello.py")),
    ("tally.py", include_str!("../../templates/python/tally.py")),
    ("README.md", include_str!("../../templates/python/README.md")),
    (".gitignore", include_str!("../../templates/python/gitignore")),
];

const RUST: &[File] = &[
    ("evoke.toml", include_str!("../../templates/rust/evoke.toml")),
    ("hello/Cargo.toml", include_str!("../../templates/rust/hello/Cargo.toml")),
    ("hello/src/lib.rs", include_str!("../../templates/rust/hello/src/lib.rs")),
    ("hello/src/evoke.rs", include_str!("../../templates/rust/hello/src/evoke.rs")),
    ("README.md", include_str!("../../templates/rust/README.md")),
    (".gitignore", include_str!("../../templates/rust/gitignore")),
];

/// Makes the folder.
pub fn run(args: &NewArgs, format: Format) -> Result {
    let name = AppName::new(&args.name).map_err(|cause| {
        Error::usage(cause.to_string())
            .help("the folder gets this name too; move it wherever you like afterwards")
    })?;
    let folder = Path::new(name.as_str());
    make_empty(folder)?;
    let (template, files) = match args.template {
        Template::Ts => ("ts", TS),
        Template::Python => ("python", PYTHON),
        Template::Rust => ("rust", RUST),
    };
    for (path, text) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|cause| cannot("make", parent, &cause))?;
        fs::write(&path, text.replace("{{name}}", name.as_str()))
            .map_err(|cause| cannot("write", &path, &cause))?;
    }
    if format.is_json() {
        let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        output::json(&json!({ "app": name, "template": template, "dir": folder, "files": paths }))?;
        return Ok(Exit::Done);
    }
    format.talk(format_args!("{} app {name}, in the folder {name}:", words::good("made")));
    for (path, _) in files {
        output::line(format_args!("{name}/{path}"))?;
    }
    format.talk(format_args!("\nnext:\n  cd {name}\n  evoke dev\nand in a second terminal:\n  curl 'http://127.0.0.1:7070/hello?name=Ada'"));
    Ok(Exit::Done)
}

fn make_empty(folder: &Path) -> Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            return Err(Error::usage(format!(
                "the folder {} is there already, and is not empty",
                folder.display()
            ))
            .help("choose another name, or empty the folder"));
        }
        Err(cause) if cause.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::usage(format!("{} is there already, and is no folder", folder.display()))
                .help("choose another name"));
        }
        _ => {}
    }
    fs::create_dir_all(folder).map_err(|cause| cannot("make", folder, &cause))
}

fn cannot(verb: &str, path: &Path, cause: &std::io::Error) -> Error {
    Error::failed("new", format!("cannot {verb} {}: {cause}", path.display()))
}
