//! Which function a request or an event is for.

use evoke_core::id::{AppName, FunctionName};

use crate::Engine;

/// A route that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// Path parameters, percent-decoded, in path order.
    pub params: Vec<(String, String)>,
    /// The route's path as declared.
    pub pattern: String,
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
    pub fn route(&self, _method: &str, _path: &str) -> Result<RouteMatch, NoRoute> {
        todo!()
    }
}
