//! Which function a request or an event is for.
//!
//! A `Snapshot` holds all deployed apps with the route table made of them. It is replaced as a whole when an app
//! changes; whoever started with one finishes with it.

mod subscribers;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::cors::Cors;
use evoke_core::decorator::BuiltIn;
use evoke_core::event::Event;
use evoke_core::filter::{Allowance, Decision};
use evoke_core::id::{AppName, FunctionName, SubscriptionName};
use evoke_core::manifest::{Function, Subscription};
use evoke_core::redirect::Redirect;
use evoke_core::rollout::Window;
use evoke_core::upstream::Upstream;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Engine;
use crate::admission::{Allowed, Door};
use crate::deploy::{BundleFiles, Deployment};
use crate::experiment::Split;
use crate::lifecycle::Health;
use crate::meter::Meter;
use crate::pool::Pool;
use crate::removal::Life;
use crate::rollout::Role;

pub(crate) use subscribers::Subscribers;
pub(crate) use table::{RouteTable, RouteTaken};

/// A route that matched.
#[derive(Debug, Clone)]
pub struct RouteMatch {
    /// The app.
    pub app: AppName,
    /// What tells it from the app's other routes: [`evoke_core::manifest::Route::id`].
    pub id: Arc<str>,
    /// Who takes it.
    pub to: Destination,
    /// Path parameters, percent-decoded, in path order.
    pub params: Vec<(String, String)>,
    /// The route's path as declared.
    pub pattern: Arc<str>,
    /// The route's methods as declared; empty means all.
    pub methods: Arc<[String]>,
    /// Which pages of other origins may read the answer.
    pub cors: Option<Arc<Cors>>,
    /// What it passes before, the outermost first.
    pub decorators: Arc<[Decorator]>,
}

/// What a request passes before what its route leads to.
#[derive(Debug, Clone)]
pub enum Decorator {
    /// A function of the app.
    Function(FunctionName),
    /// One that Evoke brings along, by the name that the manifest gives it.
    BuiltIn(FunctionName, Arc<BuiltIn>),
    /// One of several ways.
    Experiment(Arc<Split>),
}

/// Who takes what came to a path.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A function.
    Function(FunctionName),
    /// Another server.
    Upstream(Arc<Upstream>),
    /// Nobody: the client is sent elsewhere.
    Redirect(Arc<Redirect>),
    /// One of several.
    Experiment(Arc<Split>),
    /// A webhook of the app, by its place in the manifest.
    Webhook(usize),
    /// A beacon of the app, by its place in the manifest.
    Beacon(usize),
}

/// Why no route matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoute {
    /// No route has that path.
    NotFound,
    /// Some have, but not with that method; these are allowed, sorted.
    MethodNotAllowed(Vec<String>),
}

impl Engine {
    /// Finds the route for a request: the most specific path wins, then the method decides.
    pub fn route(&self, method: &str, path: &str) -> Result<RouteMatch, NoRoute> {
        self.0.directory.snapshot().routes.find(method, path)
    }
}

/// The current snapshot.
#[derive(Default)]
pub(crate) struct Directory {
    current: RwLock<Arc<Snapshot>>,
    switched: tokio::sync::Notify,
    /// Whoever makes the next snapshot of the current one holds this until it has switched, or one of two changes at the
    /// same moment would be lost.
    pub changing: tokio::sync::Mutex<()>,
    /// Pools of former revisions, until their last instance has ended.
    retired: Mutex<Vec<Arc<Target>>>,
}

impl Directory {
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().clone()
    }

    /// Whether nothing was deployed since this was current.
    pub fn is_current(&self, snapshot: &Arc<Snapshot>) -> bool {
        Arc::ptr_eq(&self.current.read(), snapshot)
    }

    /// Waits until there is another snapshot than when this was called.
    pub fn changed(&self) -> impl Future<Output = ()> + use<'_> {
        self.switched.notified()
    }

    /// Switches to `next` and retires the pools it does not have.
    pub fn replace(&self, next: Snapshot) {
        let next = Arc::new(next);
        let former = std::mem::replace(&mut *self.current.write(), next.clone());
        self.switched.notify_waiters();
        for target in former.targets() {
            let now = || next.both(&target.app).filter_map(|app| app.functions.get(&target.name));
            if !now().any(|now| Arc::ptr_eq(&now.door, &target.door)) {
                target.door.close();
            }
            let kept = now().any(|now| Arc::ptr_eq(&now.pool, &target.pool));
            if !kept && !target.retire() {
                self.retired.lock().push(target.clone());
            }
        }
    }

    /// Instances of former revisions of a function that have not ended yet.
    pub fn draining(&self, app: &AppName, function: &FunctionName) -> usize {
        let retired = self.retired.lock();
        let of = retired.iter().filter(|target| target.app == *app && target.name == *function);
        of.map(|target| target.pool.count().draining).sum()
    }

    /// Ends what is idle of former revisions, and lets go of those without instances.
    pub fn forget_ended(&self) {
        self.retired.lock().retain(|target| !target.retire());
    }

    /// Switches to what there is without `app`, and returns its life. Whoever calls it holds `Directory::changing`.
    pub fn remove(&self, app: &AppName) -> Option<Life> {
        let snapshot = self.snapshot();
        let life = snapshot.apps.get(app)?.life.clone();
        let mut apps = snapshot.apps.clone();
        apps.remove(app);
        let mut canaries = snapshot.canaries.clone();
        canaries.remove(app);
        let routes = RouteTable::of(apps.values().map(|app| &*app.deployment));
        self.replace(Snapshot { apps, canaries, routes });
        Some(life)
    }

    /// Forgets all apps and retires all pools.
    pub fn clear(&self) {
        self.replace(Snapshot::default());
    }
}

/// All that is deployed, at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub apps: BTreeMap<AppName, Arc<App>>,
    /// Their next versions, where one has a part of the work.
    pub canaries: BTreeMap<AppName, Arc<App>>,
    pub routes: RouteTable,
}

/// A deployed app with what its functions run in.
pub(crate) struct App {
    pub deployment: Arc<Deployment>,
    pub functions: BTreeMap<FunctionName, Arc<Target>>,
    pub subscribers: Subscribers,
    /// What it is started from, kept as long as it is deployed.
    pub files: Arc<BundleFiles>,
    pub life: Life,
    /// Which part of the work it has, and for how long it is looked at closely.
    pub role: Role,
    /// Whoever holds this may still do something in the name of the app.
    pub _here: TaskTrackerToken,
}

/// A function as it can be called now.
pub(crate) struct Target {
    pub app: AppName,
    pub name: FunctionName,
    pub settings: Function,
    pub pool: Arc<Pool>,
    /// Two versions that share the work have one.
    pub door: Arc<Door>,
    /// How its attempts ended lately, of this revision alone.
    pub tally: Arc<Mutex<Window>>,
    /// The permits of subscriptions that have a limit of their own.
    pub gates: BTreeMap<SubscriptionName, Arc<Semaphore>>,
    /// How often it may be started, where that is bounded.
    pub rate: Option<Arc<Allowed>>,
    /// Goes on when the app is deployed again.
    pub health: Arc<Health>,
    /// So does this.
    pub meter: Arc<Meter>,
}

impl Target {
    /// Ends its instances as they become idle. Whether that was all of them: to be asked again until it is.
    fn retire(&self) -> bool {
        // Those inside of a door that stays have another version to go to.
        let coming = if self.door.is_closed() { self.door.inside() } else { 0 };
        self.pool.retire(coming)
    }

    /// Whether it may send requests over the network.
    pub fn can_send(&self) -> bool {
        self.settings.hook.is_some() || !self.settings.egress.entries().is_empty()
    }

    /// The subscription of this name, as it is deployed now.
    pub fn subscription(&self, name: &SubscriptionName) -> Option<&Subscription> {
        self.settings.on.iter().find(|on| on.name() == *name)
    }
}

impl Snapshot {
    /// All routes there would be with `deployment` in place of its app's former self.
    pub fn routes_with(&self, deployment: &Deployment) -> Result<RouteTable, RouteTaken> {
        let mut routes = RouteTable::default();
        let others = self.apps.values().map(|app| &*app.deployment);
        let others = others.filter(|other| other.manifest.app != deployment.manifest.app);
        // The newcomer last: what collides is its route, not theirs.
        for deployment in others.chain([deployment]) {
            routes.add(deployment)?;
        }
        Ok(routes)
    }

    pub fn target(&self, app: &AppName, function: &FunctionName) -> Option<&Arc<Target>> {
        self.apps.get(app)?.functions.get(function)
    }

    /// The app and its function, to be kept.
    pub fn find(&self, app: &AppName, function: &FunctionName) -> Option<(Arc<App>, Arc<Target>)> {
        let app = self.apps.get(app)?;
        Some((app.clone(), app.functions.get(function)?.clone()))
    }

    /// The app and its canary, as far as they are there.
    pub fn both(&self, app: &AppName) -> impl Iterator<Item = &Arc<App>> {
        self.apps.get(app).into_iter().chain(self.canaries.get(app))
    }

    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.apps.values().chain(self.canaries.values()).flat_map(|app| app.functions.values())
    }

    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.targets().map(|target| &target.pool)
    }
}

impl App {
    /// The subscriptions that take the event, or of which nobody knows: the function, and the position among its `on` entries.
    pub fn subscribers(
        &self,
        event: &Event,
        allowance: &mut Allowance,
    ) -> Vec<(&Arc<Target>, u32, Decision)> {
        self.subscribers.find(event, allowance)
    }
}
