//! Names of secrets, wherever the manifest may have some.

use super::Resolver;
use crate::manifest::bounds::SECRETS_MAX;
use crate::manifest::raw;
use crate::manifest::table::At;
use crate::secret::SecretName;

impl Resolver<'_, '_> {
    /// The names under key `secrets` or `secret`, each once.
    pub(super) fn secrets(&mut self, place: &str, names: Option<&At<Vec<At<String>>>>) -> Vec<SecretName> {
        let Some(names) = names else { return Vec::new() };
        if names.value.len() > SECRETS_MAX {
            let count = names.value.len();
            let message = format!("{place}: {count} secrets are more than the limit of {SECRETS_MAX}");
            self.problems.add("out_of_range", names.span.clone(), message);
        }
        let mut found: Vec<SecretName> = Vec::new();
        for text in names.value.iter().take(SECRETS_MAX) {
            match SecretName::new(&text.value) {
                Ok(name) if found.contains(&name) => {
                    let message = format!("{place}: secret {name} is named twice");
                    self.problems.add("duplicate", text.span.clone(), message);
                }
                Ok(name) => found.push(name),
                Err(error) => self
                    .problems
                    .add("invalid_name", text.span.clone(), format!("{place}: {error}"))
                    .help("name it as an environment variable, such as SMTP_PASSWORD; the value is set with `evoke secrets set`"),
            }
        }
        found
    }

    /// A function's secrets become variables, beside those of `env`.
    pub(super) fn secrets_beside_env(&mut self, place: &str, function: &raw::Function) {
        for name in function.secrets.iter().flat_map(|names| &names.value) {
            let reserved = ["EVOKE_", "AWS_"].into_iter().find(|prefix| name.value.starts_with(prefix));
            if let Some(prefix) = reserved {
                let message =
                    format!("{place}: secret {} starts with {prefix}, which is Evoke's own", name.value);
                self.problems.add("invalid_name", name.span.clone(), message).help("give it another name");
            }
            if function.env.iter().any(|(variable, _)| variable.value == name.value) {
                let message = format!("{place}: {} is in env and in secrets", name.value);
                let found = self.problems.add("duplicate", name.span.clone(), message);
                found.help("both would be the same environment variable; leave one of them out");
            }
        }
    }
}
