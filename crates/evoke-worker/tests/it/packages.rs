//! Packages that functions ask for: real pip and npm, and no registry.

mod made;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::manifest::Install;
use evoke_core::runtime::{InstallError, InstanceSpec, PrepareError, Prepared, Progress, Runtime};
use evoke_worker::{Options, ProcessRuntime};

use crate::support::*;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";

const PYTHON: &str = "import left, sys\ndef handler(event, context):\n    return {'value': left.VALUE, 'pth': hasattr(sys, 'pth_of_left')}\n";
const NODE: &str = "import left from 'left';\nimport fs from 'node:fs';\nexport default { fetch() {\n  const at = new URL('./ran', import.meta.resolve('left'));\n  return Response.json({ value: left.value, ran: fs.existsSync(at) ? fs.readFileSync(at, 'utf8') : null });\n} };\n";

/// A runtime with a folder of wheels, and no other source of packages.
struct Shop {
    host: Host,
    wheels: tempfile::TempDir,
}

/// What became of preparing.
struct Tried {
    result: Result<(InstanceSpec, Prepared), PrepareError>,
    progress: Vec<String>,
}

impl Tried {
    #[track_caller]
    fn made(self) -> (InstanceSpec, Prepared) {
        self.result.unwrap_or_else(|error| panic!("{error:#?}\n{:#?}", self.progress))
    }

    #[track_caller]
    fn failed(self) -> InstallError {
        match self.result {
            Err(PrepareError::Install(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// How often a tool was run for it.
    fn installations(&self) -> usize {
        self.progress.iter().filter(|line| line.contains(": installing ")).count()
    }
}

impl Shop {
    async fn open() -> Self {
        Self::with(Limits::default(), &[]).await
    }

    /// `registries` are added to what says that there are only the wheels.
    async fn with(limits: Limits, registries: &[(&str, &str)]) -> Self {
        let (dir, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Tools are another user.
        std::fs::set_permissions(wheels.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let runtime = start(&dir, &wheels, limits, registries).await;
        Self { host: Host { runtime, dir }, wheels }
    }

    /// The same folders, in another life of the server.
    async fn restarted(self, registries: &[(&str, &str)]) -> Self {
        self.host.runtime.shutdown().await;
        let Self { host: Host { dir, .. }, wheels } = self;
        let runtime = start(&dir, &wheels, Limits::default(), registries).await;
        Self { host: Host { runtime, dir }, wheels }
    }

    /// Prepares a bundle of these files; the first is the function's source.
    async fn prepare<B: AsRef<[u8]>>(&self, files: &[(&str, B)]) -> Tried {
        self.prepare_as(files, Install::default()).await
    }

    async fn prepare_as<B: AsRef<[u8]>>(&self, files: &[(&str, B)], install: Install) -> Tried {
        let (progress, mut lines) = Progress::channel();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (*path, bytes.as_ref())).collect();
        let result = self.host.prepare_bundle(&files, install, &progress).await;
        drop(progress);
        let progress = std::iter::from_fn(|| lines.try_recv().ok()).collect();
        Tried { result, progress }
    }

    /// What the function of these files answers.
    async fn answer<B: AsRef<[u8]>>(&self, files: &[(&str, B)]) -> serde_json::Value {
        let (spec, _prepared) = self.prepare(files).await.made();
        self.call(spec).await
    }

    async fn call(&self, spec: InstanceSpec) -> serde_json::Value {
        self.host.start_spec(spec).await.unwrap().get("/").await.answer().json()
    }

    /// Names of what is installed, and of what is half-made.
    fn trees(&self) -> Vec<String> {
        let folder = self.host.dir.path().join("workers/packages/1");
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

async fn start(
    dir: &tempfile::TempDir,
    wheels: &tempfile::TempDir,
    limits: Limits,
    registries: &[(&str, &str)],
) -> ProcessRuntime {
    let mut options = Options::new(dir.path().join("workers"), vec![launcher_program().into()]);
    options.limits = limits;
    let wheels = wheels.path().to_str().unwrap();
    let only = [("PIP_FIND_LINKS", wheels), ("PIP_INDEX_URL", NOWHERE), ("PIP_RETRIES", "0")];
    let npm = [("npm_config_registry", NOWHERE), ("npm_config_fetch_retries", "0")];
    let all = only.iter().chain(&npm).chain(registries);
    options.registries = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ProcessRuntime::start(options).await.unwrap()
}

/// A function of Node.js with the package `left` as a tarball, and a lock file for it.
fn node_app(tarball: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let package = r#"{"name": "app", "version": "1.0.0", "dependencies": {"left": "file:left.tgz"}}"#;
    let lock = r#"{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
        "": {"name": "app", "version": "1.0.0", "dependencies": {"left": "file:left.tgz"}},
        "node_modules/left": {"version": "1.0.0", "resolved": "file:left.tgz", "hasInstallScript": true}}}"#;
    vec![
        ("api/index.mjs", NODE.into()),
        ("api/package.json", package.into()),
        ("api/package-lock.json", lock.into()),
        ("api/left.tgz", tarball.to_vec()),
    ]
}

#[tokio::test]
async fn python_packages_are_installed_once_for_all_who_ask_for_the_same() {
    let shop = Shop::open().await;
    made::wheel(shop.wheels.path(), "left", "from a wheel", "right");
    made::wheel(shop.wheels.path(), "right", "wanted by left", "");
    let first = shop.prepare(&[("fn/a/main.py", PYTHON), ("fn/requirements.txt", "left==1.0\n")]).await;
    assert_eq!(first.installations(), 1, "{:?}", first.progress);
    let (spec, _prepared) = first.made();
    let answer = shop.call(spec).await;
    assert_eq!(answer["value"], "from a wheel");
    assert_eq!(answer["pth"], false, "a .pth file was executed");

    let source = format!("{PYTHON}# another app\n");
    let second = shop.prepare(&[("fn/b/main.py", &*source), ("fn/requirements.txt", "left==1.0\n")]).await;
    assert_eq!(second.installations(), 0, "{:?}", second.progress);
    let (spec, _prepared) = second.made();
    assert_eq!(shop.call(spec).await["value"], "from a wheel");
    assert_eq!(shop.trees().len(), 1);
}

#[tokio::test]
async fn what_was_installed_is_compiled_and_read_only() {
    let shop = Shop::open().await;
    made::wheel(shop.wheels.path(), "left", "1", "");
    let (_, _prepared) = shop.prepare(&[("main.py", PYTHON), ("requirements.txt", "left")]).await.made();
    let tree = shop.host.dir.path().join("workers/packages/1").join(&shop.trees()[0]).join("site-packages");
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(tree.join("left.py")), 0o444);
    assert_eq!(mode(tree.clone()), 0o555);
    assert_eq!(std::fs::read_dir(tree.join("__pycache__")).unwrap().count(), 1);
}

#[tokio::test]
async fn many_who_ask_for_the_same_at_once_install_it_once() {
    let shop = Shop::open().await;
    made::wheel(shop.wheels.path(), "left", "1", "");
    let sources: Vec<String> = (0..4).map(|number| format!("{PYTHON}# {number}\n")).collect();
    let all = sources.iter().map(|source| async {
        let files = [("main.py", source.as_str()), ("requirements.txt", "left")];
        let tried = shop.prepare(&files).await;
        let installations = tried.installations();
        tried.made();
        installations
    });
    assert_eq!(futures_util::future::join_all(all).await.iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn node_packages_are_installed_without_running_their_scripts() {
    let shop = Shop::open().await;
    let tarball = made::npm("left", "from a tarball", "echo yes > ran");
    let answer = shop.answer(&node_app(&tarball)).await;
    assert_eq!(answer, serde_json::json!({ "value": "from a tarball", "ran": null }));
}

#[tokio::test]
async fn scripts_run_where_the_manifest_allows_it_and_see_nothing_of_the_server() {
    let shop = Shop::with(Limits::default(), &[("AWS_SECRET_ACCESS_KEY", "s3cret")]).await;
    let secret = shop.host.dir.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let script = format!("(env; cat {} 2>&1; id -u; true) > ran", secret.display());
    let app = node_app(&made::npm("left", "1", &script));
    let (spec, _prepared) = shop.prepare_as(&app, Install { scripts: true }).await.made();
    let answer = shop.call(spec).await;
    let ran = answer["ran"].as_str().unwrap();
    assert!(ran.contains("npm_lifecycle_event=postinstall"), "{ran}");
    assert!(!ran.contains("s3cret") && !ran.contains("CARGO"), "{ran}");
    let without = shop.prepare(&app).await;
    assert_eq!(
        without.installations(),
        1,
        "what was made with scripts is not taken for what was made without"
    );
}

#[tokio::test]
async fn nothing_is_built_from_source() {
    let shop = Shop::open().await;
    made::sdist(shop.wheels.path(), "evil");
    let error =
        shop.prepare(&[("main.py", PYTHON), ("requirements.txt", "# what we need\nevil\n")]).await.failed();
    assert_eq!((error.file.as_str(), error.line), ("requirements.txt", Some(2)));
    assert!(error.message.contains("No matching distribution found for evil"), "{error:#?}");
    assert!(error.help.unwrap().contains("scripts = true"));
    // pip builds what a wheel names by its URL, whatever is said of binaries.
    let url = format!("evil @ file://{}/evil-1.0.tar.gz", shop.wheels.path().display());
    made::wheel(shop.wheels.path(), "left", "1", &url);
    let error = shop.prepare(&[("main.py", PYTHON), ("requirements.txt", "left")]).await.failed();
    assert!(error.message.contains("install scripts are off"), "{error:#?}");
    assert!(!shop.wheels.path().join("ran").exists());
    assert_eq!(shop.trees(), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_installed_is_told_in_the_tools_words_and_what_runs_goes_on() {
    // Without a second try pip does not say that there was nobody.
    let shop = Shop::with(Limits::default(), &[("PIP_RETRIES", "1")]).await;
    made::wheel(shop.wheels.path(), "left", "still here", "");
    let (spec, _prepared) = shop.prepare(&[("main.py", PYTHON), ("requirements.txt", "left")]).await.made();
    let files = [("main.py", PYTHON), ("requirements.txt", "left\nnope-xyz >= 2 # no such thing\n")];
    let error = shop.prepare(&files).await.failed();
    assert_eq!((error.file.as_str(), error.line), ("requirements.txt", Some(2)));
    assert_eq!(error.message, "pip install failed: No matching distribution found for nope-xyz>=2");
    assert!(error.output.iter().any(|line| line.contains("Could not find a version")), "{error:#?}");
    assert!(error.help.as_ref().unwrap().contains("PIP_INDEX_URL"), "{error:#?}");

    let mut app = node_app(b"");
    app[1].1 = br#"{"dependencies": {
        "nope-xyz": "^2"}}"#
        .to_vec();
    app[2].1 = br#"{"lockfileVersion": 3, "packages": {"": {"dependencies": {"nope-xyz": "^2"}},
        "node_modules/nope-xyz": {"version": "2.0.0"}}}"#
        .to_vec();
    let error = shop.prepare(&app).await.failed();
    assert_eq!((error.file.as_str(), error.line), ("api/package.json", Some(2)), "{error:#?}");
    assert!(error.message.starts_with("npm ci failed: ") && error.message.contains("nope-xyz"), "{error:#?}");
    assert!(error.help.as_ref().unwrap().contains("npm_config_registry"), "{error:#?}");
    assert_eq!(shop.trees().len(), 1, "nothing half-made stays");
    assert_eq!(shop.call(spec).await["value"], "still here");
}

#[tokio::test]
async fn hashes_are_checked() {
    let shop = Shop::open().await;
    made::wheel(shop.wheels.path(), "left", "1", "");
    let zeros = "0".repeat(64);
    let requirements = format!("left==1.0 \\\n    --hash=sha256:{zeros}\n");
    let error = shop.prepare(&[("main.py", PYTHON), ("requirements.txt", &requirements)]).await.failed();
    assert!(error.output.iter().any(|line| line.contains(&zeros)), "{error:#?}");
}

#[tokio::test]
async fn what_came_with_the_app_is_used_as_it_is() {
    let shop = Shop::open().await;
    let carried = [
        ("fn/main.py", PYTHON),
        ("fn/site-packages/left.py", "VALUE = 'carried'\n"),
        ("fn/requirements.txt", "left\n"),
    ];
    assert_eq!(shop.answer(&carried).await["value"], "carried");
    let carried = [
        ("api/index.mjs", NODE),
        ("api/package.json", r#"{"dependencies": {"left": "1"}}"#),
        ("node_modules/left/index.js", "exports.value = 'carried';"),
    ];
    assert_eq!(shop.answer(&carried).await["value"], "carried");
    assert_eq!(shop.trees(), [""; 0]);
}

#[tokio::test]
async fn a_restart_takes_what_is_there_and_installs_what_is_not() {
    let shop = Shop::open().await;
    made::wheel(shop.wheels.path(), "left", "1", "");
    let files = [("main.py", PYTHON), ("requirements.txt", "left")];
    let (_, prepared) = shop.prepare(&files).await.made();
    drop(prepared);
    let nothing = [("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "/nowhere")];
    let shop = shop.restarted(&nothing).await;
    let again = shop.prepare(&files).await;
    assert_eq!(again.installations(), 0);
    assert_eq!(shop.call(again.made().0).await["value"], "1");

    let trees = shop.host.dir.path().join("workers/packages");
    unsealed(&trees);
    std::fs::remove_dir_all(&trees).unwrap();
    let shop = shop.restarted(&nothing).await;
    let error = shop.prepare(&files).await.failed();
    assert_eq!(error.message, "pip install failed: No matching distribution found for left");
    let shop = shop.restarted(&[]).await;
    let again = shop.prepare(&files).await;
    assert_eq!(again.installations(), 1);
    assert_eq!(shop.call(again.made().0).await["value"], "1");
}

fn unsealed(path: &std::path::Path) {
    if path.symlink_metadata().unwrap().is_dir() {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::read_dir(path).unwrap().for_each(|entry| unsealed(&entry.unwrap().path()));
    }
}

/// An index that takes connections and never answers.
struct Silence {
    listener: tokio::net::TcpListener,
    url: String,
}

impl Silence {
    async fn listen() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        Self { listener, url }
    }
}

#[tokio::test]
async fn an_installation_that_nobody_waits_for_ends_and_leaves_nothing() {
    let silence = Silence::listen().await;
    let shop = Shop::with(Limits::default(), &[("PIP_INDEX_URL", &silence.url)]).await;
    let files = [("main.py", PYTHON), ("requirements.txt", "left")];
    let connected = tokio::select! {
        tried = shop.prepare(&files) => panic!("{:?}", tried.result),
        connected = silence.listener.accept() => connected.unwrap(),
    };
    until(|| shop.trees().is_empty()).await;
    // Its end has closed the connection.
    let mut rest = Vec::new();
    let mut connection = connected.0;
    let end = tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut rest);
    tokio::time::timeout(PATIENCE, end).await.expect("the tool lives").ok();
    shop.host.runtime.shutdown().await;
}

#[tokio::test]
async fn an_installation_has_a_time_limit() {
    let silence = Silence::listen().await;
    let limits = Limits { install: Duration::from_secs(3), ..Limits::default() };
    let shop = Shop::with(limits, &[("PIP_INDEX_URL", &silence.url)]).await;
    let error = shop.prepare(&[("main.py", PYTHON), ("requirements.txt", "left")]).await.failed();
    assert_eq!(error.message, "pip install took longer than the limit of 3 s and was ended");
    assert_eq!(shop.trees(), [""; 0]);
}

#[tokio::test]
async fn packages_have_a_size_limit() {
    let limits = Limits { package_files: 5, ..Limits::default() };
    let shop = Shop::with(limits, &[]).await;
    made::wheel(shop.wheels.path(), "left", "1", "");
    let error = shop.prepare(&[("main.py", PYTHON), ("requirements.txt", "left")]).await.failed();
    assert_eq!(error.message, "the packages have more than the limit of 5 files");
    assert_eq!(shop.trees(), [""; 0]);
}

#[tokio::test]
async fn packages_in_use_are_not_removed_to_make_room() {
    let limits = Limits { packages_bytes: 1, ..Limits::default() };
    let shop = Shop::with(limits, &[]).await;
    for name in ["left", "right"] {
        made::wheel(shop.wheels.path(), name, name, "");
    }
    let (spec, prepared) = shop.prepare(&[("main.py", PYTHON), ("requirements.txt", "left")]).await.made();
    let right = PYTHON.replace("left", "right");
    let other = [("main.py", right.as_str()), ("requirements.txt", "right")];
    shop.prepare(&other).await.made();
    assert_eq!(shop.trees().len(), 2, "both were in use");
    // A running instance keeps what it is made of.
    let mut guest = shop.host.start_spec(spec).await.unwrap();
    drop(prepared);
    let third = [("main.py", right.as_str()), ("requirements.txt", "right\nleft")];
    shop.prepare(&third).await.made();
    assert_eq!(guest.get("/").await.answer().json()["value"], "left");
    assert_eq!(shop.trees().len(), 2, "of `right` alone nobody is left");
}
