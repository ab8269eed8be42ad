//! What things with a name in the manifest keep between requests: counts, compiled schemas and answers of decorators, places for
//! copies of experiments.

use std::collections::HashMap;
use std::sync::Arc;

use evoke_core::id::{AppName, FunctionName};
use evoke_engine::Engine;
use parking_lot::Mutex;

/// By app and name, and the rule each was made for. As many as are deployed.
pub(crate) struct Keep<R, T>(Mutex<HashMap<Name, (R, Arc<T>)>>);

type Name = (AppName, FunctionName);

impl<R, T> Default for Keep<R, T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<R: PartialEq + Clone, T> Keep<R, T> {
    /// That of a decorator or an experiment: the two share their names. It goes on as long as the rule is the same, also when the app is deployed again; `make` makes it anew.
    pub fn of(
        &self,
        engine: &Engine,
        (app, name): (&AppName, &FunctionName),
        rule: &R,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut all = self.0.lock();
        let key = (app.clone(), name.clone());
        if let Some((of, kept)) = all.get_mut(&key).filter(|(of, _)| of == rule) {
            // The same rule of a later deployment: it is compared by its address from now on.
            of.clone_from(rule);
            return kept.clone();
        }
        let is_deployed = |app: &AppName, name: &FunctionName| {
            engine.app(app).is_some_and(|app| {
                app.manifest.decorators.contains_key(name) || app.manifest.experiments.contains_key(name)
            })
        };
        all.retain(|(app, name), _| is_deployed(app, name));
        let made = Arc::new(make());
        all.insert(key, (rule.clone(), made.clone()));
        made
    }
}
