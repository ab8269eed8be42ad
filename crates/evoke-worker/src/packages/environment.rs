//! What the tools that install are told of the server's environment: where packages come from, and how to get there. Nothing
//! else of it, since it may hold secrets. The list is repeated in `docs/reference/packages.md`.

use std::path::{Path, PathBuf};

use crate::interpreter::Language;

/// For both tools, in either case.
const NETWORK: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
/// Certificates, for both.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// For pip.
const PIP: [&str; 16] = [
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CONFIG_FILE",
    "PIP_CONSTRAINT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_PROXY",
    "PIP_RETRIES",
    "PIP_TIMEOUT",
    "PIP_TRUSTED_HOST",
    "PIP_UPLOADED_PRIOR_TO",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];
/// For npm, after `npm_config_`, in either case.
const NPM: [&str; 15] = [
    "before",
    "ca",
    "cafile",
    "fetch_retries",
    "fetch_retry_factor",
    "fetch_retry_maxtimeout",
    "fetch_retry_mintimeout",
    "fetch_timeout",
    "https_proxy",
    "maxsockets",
    "noproxy",
    "proxy",
    "registry",
    "strict_ssl",
    "userconfig",
];
/// Also for npm.
const NODE: [&str; 1] = ["NODE_EXTRA_CA_CERTS"];

/// Those whose value is a file that holds settings; it is copied to where the tool can read it.
const SETTINGS: [&str; 2] = ["PIP_CONFIG_FILE", "npm_config_userconfig"];
/// Bytes of such a file.
const SETTINGS_BYTES_MAX: u64 = 64 << 10;

/// What this process's environment says of registries, proxies and certificates.
pub(crate) fn of_this_process() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let all = std::env::vars_os().filter_map(text);
    all.filter(|(name, _)| is_for(Language::Node, name) || is_for(Language::Python, name)).collect()
}

/// Whether the tool of this language is told.
fn is_for(language: Language, name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if NETWORK.contains(&lower.as_str()) || CERTIFICATES.contains(&name) {
        return true;
    }
    match language {
        Language::Python => PIP.contains(&name),
        Language::Node => {
            let of_npm = lower.strip_prefix("npm_config_").is_some_and(|setting| {
                // Registries of scopes, and tokens for a registry.
                NPM.contains(&setting) || setting.starts_with('@') || setting.starts_with("//")
            });
            of_npm || NODE.contains(&name)
        }
    }
}

/// What a tool is told, and what it must be able to read for that.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub env: Vec<(String, String)>,
    pub readable: Vec<PathBuf>,
}

/// For the tool of this language, out of `registries`; files with settings are copied into `home`. Blocks on the disk.
pub(super) fn tell(
    language: Language,
    registries: &[(String, String)],
    home: &Path,
) -> std::io::Result<Told> {
    let mut told = Told::default();
    for (name, value) in registries.iter().filter(|(name, _)| is_for(language, name)) {
        let mut value = value.clone();
        let settings = SETTINGS.iter().any(|settings| settings.eq_ignore_ascii_case(name));
        if settings && Path::new(&value).is_file() {
            if std::fs::metadata(&value)?.len() > SETTINGS_BYTES_MAX {
                return Err(std::io::Error::other(format!(
                    "{name}: {value} has more than {SETTINGS_BYTES_MAX} bytes"
                )));
            }
            let copy = home.join(name.to_ascii_lowercase());
            std::fs::write(&copy, std::fs::read(&value)?)?;
            value = copy.to_string_lossy().into_owned();
        } else {
            // Certificates are one path, PIP_FIND_LINKS is a list of paths and URLs.
            let paths = value.split_whitespace().map(|part| part.strip_prefix("file://").unwrap_or(part));
            let there = paths.map(PathBuf::from).filter(|path| path.is_absolute() && path.exists());
            told.readable.extend(there.filter(|path| path.components().count() > 1));
        }
        told.env.push((name.clone(), value));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_is_told_of_its_registries_and_of_nothing_else() {
        for (name, pip, npm) in [
            ("PIP_INDEX_URL", true, false),
            ("PIP_TARGET", false, false),
            ("npm_config_registry", false, true),
            ("NPM_CONFIG_REGISTRY", false, true),
            ("npm_config_@shop:registry", false, true),
            ("npm_config_//npm.example.com/:_authToken", false, true),
            ("npm_config_ignore_scripts", false, false),
            ("NODE_OPTIONS", false, false),
            ("HTTPS_PROXY", true, true),
            ("no_proxy", true, true),
            ("SSL_CERT_FILE", true, true),
            ("EVOKE_TOKEN", false, false),
            ("AWS_SECRET_ACCESS_KEY", false, false),
        ] {
            let told = (is_for(Language::Python, name), is_for(Language::Node, name));
            assert_eq!(told, (pip, npm), "{name}");
        }
    }

    #[test]
    fn a_file_with_settings_is_copied_and_one_of_certificates_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let settings = dir.path().join("pip.conf");
        std::fs::write(&settings, "[global]\n").unwrap();
        let text = settings.to_str().unwrap().to_owned();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let registries =
            [("PIP_CONFIG_FILE".to_owned(), text.clone()), ("PIP_CERT".to_owned(), text.clone())];
        let told = tell(Language::Python, &registries, &home).unwrap();
        assert_eq!(std::fs::read_to_string(&told.env[0].1).unwrap(), "[global]\n");
        assert!(told.env[0].1.starts_with(home.to_str().unwrap()));
        assert_eq!(
            (told.env[1].1.as_str(), told.readable.as_slice()),
            (text.as_str(), [settings].as_slice())
        );
        assert!(tell(Language::Node, &registries, &home).unwrap().env.is_empty());
    }
}
