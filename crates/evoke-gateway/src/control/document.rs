//! The OpenAPI document.

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, PathItem, Ref, RefOr};

use crate::api::Problem;
use crate::problem::MEDIA_TYPE;

const TOKEN: &str = "token";

/// The control API in OpenAPI 3.1.
pub fn openapi() -> OpenApi {
    let (_, mut api) = super::routes().split_for_parts();
    api.info = InfoBuilder::new()
        .title("Evoke control API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Deploy, look, invoke, publish, redrive. Served on the control listener."))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token in `admin.token` in the server's data directory."))
        .build();
    let mut components = ComponentsBuilder::from(api.components.take().unwrap_or_default())
        .security_scheme(TOKEN, SecurityScheme::Http(scheme))
        .schema_from::<Problem>();
    for (name, schema) in schemas_of::<Problem>() {
        components = components.schema(name, schema);
    }
    api.components = Some(components.build());
    // axum's sign for the rest of a path is not OpenAPI's.
    let paths = std::mem::take(&mut api.paths.paths);
    api.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for (path, item) in &mut api.paths.paths {
        let behind_token = path.starts_with("/v1/") && path != "/v1/openapi.json";
        operations(item).for_each(|operation| complete(operation, behind_token));
    }
    api
}

/// The document as JSON text with a line end.
pub(crate) fn to_json() -> String {
    let mut text = openapi().to_pretty_json().expect("the document has only string keys");
    text.push('\n');
    text
}

fn schemas_of<T: utoipa::ToSchema>() -> Vec<(String, RefOr<utoipa::openapi::Schema>)> {
    let mut schemas = Vec::new();
    T::schemas(&mut schemas);
    schemas
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// What holds for every operation, said once: errors are problems, and `/v1` wants the token.
fn complete(operation: &mut Operation, behind_token: bool) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let error = ResponseBuilder::new()
        .description("Anything else is a problem (RFC 9457).")
        .content(MEDIA_TYPE, problem)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(error));
    if behind_token {
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
    }
}
