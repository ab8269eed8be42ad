//! Whether Node.js can be forked here. Nobody promises that it can, so it is tried, with all that a function has around it:
//! a zygote in its sandbox, an instance forked from it, a call to that one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::egress::AllowList;
use evoke_core::event::Event;
use evoke_core::id::{AppName, Correlation, FunctionName, RevisionId, RunId};
use evoke_core::manifest::{Preload, RuntimeKind};
use evoke_core::record::Cause;
use evoke_core::runtime::{Call, Ended, Input, Instance, InstanceSpec, Reports, reports};
use evoke_core::time::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::place::Place;
use super::{Need, ProcessRuntime};
use crate::instance::Loaded;
use crate::interpreter::Language;
use crate::launcher::Launcher;

/// Its app and its function.
const NAMES: (&str, &str) = ("evoke", "self-test");
/// How long each step may take. Silence is one of the ways to fail.
const TIMEOUT: Duration = Duration::from_secs(10);
/// It is not much.
const MEMORY_BYTES: u64 = 256 << 20;

impl ProcessRuntime {
    /// Whether instances of this runtime can be forked, or why not, in words. Waits for the outcome of a trial.
    pub async fn forks(&self, kind: RuntimeKind) -> Result<(), String> {
        let language = Language::of(kind).ok_or("functions are programs of their own")?;
        let launcher = self.launcher.lock().clone().ok_or("the server is shutting down")?;
        self.can_fork(language, &launcher).await
    }

    pub(super) async fn can_fork(&self, language: Language, launcher: &Launcher) -> Result<(), String> {
        if language == Language::Python {
            return Ok(());
        }
        // A Node.js that is installed later is tried then.
        self.programs.interpreter(language, launcher).await?;
        let tried = self.node_forks.get_or_init(|| async {
            let tried = Box::pin(self.try_to_fork(launcher)).await;
            if let Err(cause) = &tried {
                tracing::warn!(
                    cause,
                    "Node.js cannot be forked here: processes for it are started ahead instead"
                );
            }
            tried
        });
        tried.await.clone()
    }

    async fn try_to_fork(&self, launcher: &Launcher) -> Result<(), String> {
        let source = self.shims.self_test()?;
        let place = Place::of_shim(&source).ok_or("the path of its folder is not UTF-8")?;
        let spec = Arc::new(spec(&source));
        let need = Need { spec: &spec, language: Language::Node, place: &place, launcher };
        let zygote = match Box::pin(self.load(need, true)).await.map_err(|failure| failure.message)? {
            (Loaded::Zygote(parts, early), ground) => self.zygotes.begin(&spec, *parts, ground, early),
            (Loaded::Instance(_), _) => return Err("it is not alone in its process".to_owned()),
        };
        let forked = Box::pin(self.fork(need, &zygote)).await.map_err(|failure| failure.message)?;
        let mut instance = forked.map_err(|cause| cause.to_string())?;
        let (call, _reports) = call();
        match instance.call(call).await {
            Ended::Returned { .. } | Ended::Partly { .. } => Ok(()),
            Ended::Failed(failure) => Err(failure.message),
            Ended::TimedOut => {
                Err(format!("a forked process did not do its work within {} s", TIMEOUT.as_secs()))
            }
            Ended::Cancelled => Err("the trial was given up".to_owned()),
        }
    }
}

fn spec(source: &Path) -> InstanceSpec {
    let name = |text| (AppName::new(text), FunctionName::new(text));
    let (app, function) = (name(NAMES.0).0, name(NAMES.1).1);
    InstanceSpec {
        app: app.expect("it is a name"),
        function: function.expect("it is a name"),
        revision: RevisionId::from_text(NAMES.1),
        runtime: RuntimeKind::Node,
        bundle: String::new(),
        source: source.to_owned(),
        handler: None,
        env: Vec::new(),
        egress: AllowList::default(),
        memory_bytes: MEMORY_BYTES,
        preload: Preload::Module,
        instance_concurrency: 1,
        keeps_instance: false,
        start_timeout: TIMEOUT,
        hook: None,
    }
}

fn call() -> (Call, Reports) {
    let (up, reports) = reports(16);
    let call = Call {
        run: RunId::from_text(NAMES.1),
        attempt: 1,
        cause: Cause {
            root: Correlation::from_text(NAMES.1),
            parent: None,
            depth: 0,
            chain: evoke_core::chain::Chain::default(),
            version: None,
            trace_id: String::new(),
            span_id: String::new(),
            shadow: false,
        },
        deadline: Instant::now() + TIMEOUT,
        deadline_at: Timestamp::from_millis(0),
        timeout: TIMEOUT,
        input: Input::Event(Event::new(NAMES.1, NAMES.0, NAMES.1)),
        decorates: false,
        hops: None,
        up,
        cancel: CancellationToken::new(),
    };
    (call, reports)
}
