//! The description of the HTTP API (OpenAPI 3.1), made of what stands beside the handlers.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{self, Content, Ref, RefOr, Response, Schema};
use utoipa::{Modify, OpenApi};

use crate::edge::api::{apply, documents, erase, export, history, rights, versions};
use crate::edge::doors::login;
use crate::edge::extract::{Asked, Nothing};
use crate::edge::model::{Format, ProblemBody};
use crate::edge::{assets, pages, routes, socket};

/// Collects the handlers; a test holds it against the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quire",
        description = "Documents over HTTP; docs/API.md says more. Every problem is \
            `application/problem+json` with a `code` that stays the same. What changes something \
            and comes with the cookie of a login needs the header `x-csrf-token`.",
        contact(),
    ),
    paths(
        documents::create, documents::text, documents::import, documents::delete,
        documents::undelete, apply::apply, export::export,
        history::history, history::blame, history::diff, history::verify, history::restore,
        history::cut, versions::list, versions::name, rights::read, rights::change, erase::erase,
        described,
        login::sign_in, login::session, login::sign_out, login::ticket,
        socket::upgrade,
        assets::index, assets::login, assets::editor, assets::asset,
        pages::page,
        routes::livez, routes::readyz, routes::metrics,
    ),
    components(schemas(ProblemBody, Format)),
    security((), ("token" = []), ("login" = [], "csrf" = [])),
    tags(
        (name = "documents", description = "Texts, and edits of them"),
        (name = "history", description = "What was written before"),
        (name = "rights", description = "Who may do what with a document"),
        (name = "doors", description = "Who is let in"),
        (name = "pages", description = "The editor, and public documents"),
        (name = "operators", description = "Whether the node is well"),
    ),
    modifiers(&Common),
)]
struct Described;

/// Adds what all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, described: &mut openapi::OpenApi) {
        let components = described.components.get_or_insert_default();
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", token);
        let login = ApiKeyValue::new("__Host-quire-login");
        components.add_security_scheme("login", SecurityScheme::ApiKey(ApiKey::Cookie(login)));
        let csrf = ApiKeyValue::new("x-csrf-token");
        components.add_security_scheme("csrf", SecurityScheme::ApiKey(ApiKey::Header(csrf)));
        for path in described.paths.paths.values_mut() {
            let all = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
            for operation in all.into_iter().flatten() {
                relax(operation);
                let mut problem = Response::new("A problem");
                let body = Content::new(Some(Ref::from_schema_name("Problem")));
                let kind = "application/problem+json".to_owned();
                problem.content.insert(kind, RefOr::T(body));
                operation.responses.responses.insert("default".to_owned(), RefOr::T(problem));
            }
        }
    }
}

/// Says what may be left out: a header that is there has a value, and a body of which nothing is
/// needed need not be there.
fn relax(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
            && let SchemaType::Array(types) = &schema.schema_type
            && let [kind, Type::Null] = &types[..]
        {
            schema.schema_type = SchemaType::Type(kind.clone());
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        let needs_nothing = |content: &RefOr<Content>| {
            let RefOr::T(Content { schema: Some(RefOr::Ref(named)), .. }) = content else {
                return false;
            };
            ["/By", "/Create"].iter().any(|name| named.ref_location.ends_with(name))
        };
        if body.content.values().all(needs_nothing) {
            body.required = None;
        }
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let text = Described::openapi().to_pretty_json();
    text.expect("it is made of strings and numbers") + "\n"
});

/// Returns the description as JSON.
pub fn description() -> &'static str {
    &TEXT
}

/// Returns this description.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "operators",
    responses((status = 200, description = "OpenAPI 3.1", body = inline(serde_json::Value),
        content_type = "application/json"))
)]
pub(in crate::edge) async fn described(_: Asked<Nothing>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], description())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    type Operations = BTreeSet<(String, &'static str)>;

    const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

    /// Collects what the sources of the edge make routes of.
    fn routed(folder: &Path, found: &mut Operations) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                routed(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // In two parts, so that this line is none.
            for call in text.split(concat!(".rou", "te(")).skip(1) {
                let (path, rest) = call.trim_start()[1..].split_once('"').unwrap();
                let handlers = rest.split([';', '\n']).next().unwrap();
                let named = METHODS.iter().filter(|name| handlers.contains(&format!("{name}(")));
                let before = found.len();
                found.extend(named.map(|name| (path.to_owned(), *name)));
                assert!(found.len() > before, "{path} has methods on its line: {handlers}");
            }
        }
    }

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let mut routes = Operations::new();
        routed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/edge"), &mut routes);
        let mut described = Operations::new();
        for (path, item) in &Described::openapi().paths.paths {
            let all = [&item.get, &item.put, &item.post, &item.delete];
            for (method, _) in METHODS.iter().zip(all).filter(|(_, one)| one.is_some()) {
                described.insert((path.clone(), *method));
            }
        }
        assert_eq!(described, routes);
    }

    #[test]
    fn what_is_checked_in_is_what_the_code_says() {
        let kept = include_str!("../../../docs/openapi.json");
        assert!(kept == description(), "run: quire openapi > docs/openapi.json");
    }
}
