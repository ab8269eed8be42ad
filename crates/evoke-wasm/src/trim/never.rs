//! What no component gets here, so that what can be done with it is never done.
//!
//! There are no files: the list of folders is empty ([`crate::guest::Guest::new`]). There are no sockets: making one is refused. No
//! standard stream is a terminal. So there is no handle to such a resource, and a call with another one ends the guest.

/// Packages, versions and resources. Names that can be looked up are left out: an address as text has a stream of itself.
const NEVER: [(&str, &[&str]); 3] = [
    ("wasi:filesystem/", &["descriptor", "directory-entry-stream"]),
    ("wasi:sockets/", &["tcp-socket", "udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"]),
    ("wasi:cli/", &["terminal-input", "terminal-output"]),
];
const VERSIONS: [&str; 2] = ["@0.2.", "@0.3."];

/// Whether nobody has a handle to this resource of an interface, such as `tcp-socket` of `wasi:sockets/tcp@0.2.6`.
pub(super) fn is_had(interface: &str, resource: &str) -> bool {
    let is_of = |package: &str| {
        interface.starts_with(package) && VERSIONS.iter().any(|version| interface.contains(version))
    };
    !NEVER.iter().any(|(package, resources)| is_of(package) && resources.contains(&resource))
}

/// Whether a function of an interface can be called: not if it is a method of a resource that nobody has.
pub(super) fn is_callable(interface: &str, function: &str) -> bool {
    let method = function.strip_prefix("[method]").and_then(|method| method.split_once('.'));
    method.is_none_or(|(resource, _)| is_had(interface, resource))
}

#[cfg(test)]
mod tests {
    use super::{is_callable, is_had};

    #[test]
    fn what_is_never_given_out_is_never_used() {
        assert!(!is_had("wasi:sockets/tcp@0.2.0", "tcp-socket"));
        assert!(!is_callable("wasi:sockets/types@0.3.2", "[method]tcp-socket.bind"));
        assert!(!is_callable("wasi:filesystem/types@0.2.6", "[method]descriptor.read"));
    }

    #[test]
    fn what_says_that_there_is_none_is_still_asked() {
        assert!(is_callable("wasi:sockets/tcp-create-socket@0.2.0", "create-tcp-socket"));
        assert!(is_callable("wasi:sockets/types@0.3.2", "[static]tcp-socket.create"));
        assert!(is_callable("wasi:filesystem/preopens@0.2.0", "get-directories"));
        assert!(is_callable("wasi:sockets/ip-name-lookup@0.2.0", "[method]resolve-address-stream.subscribe"));
    }

    #[test]
    fn other_packages_and_versions_are_left_alone() {
        assert!(is_had("my:sockets/tcp@0.2.0", "tcp-socket"));
        assert!(is_had("wasi:sockets/tcp@1.0.0", "tcp-socket"));
        assert!(is_callable("wasi:http/types@0.2.0", "[method]fields.append"));
    }
}
