//! The API's description, made from the routes themselves.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Description, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi};

use crate::answer::Detail;

/// The answers that every operation may give.
const COMMON: &[(&str, &str)] = &[
    ("400", "The request is wrong; `detail` says where"),
    ("401", "The access token is missing or unknown"),
    ("403", "The token does not allow the request, or the request comes from another machine or a web page"),
    ("408", "The request took too long"),
    ("413", "The body is too large"),
    ("503", "The store does not answer and nothing was stored; try again"),
];

#[derive(OpenApi)]
#[openapi(
    info(title = "Runbell", description = "Accepts events of runs, and delivers their notifications."),
    components(schemas(Detail)),
    modifiers(&Common)
)]
pub(crate) struct Api;

struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut Description) {
        let components = api.components.get_or_insert_default();
        for (name, scheme) in [("bearer", HttpAuthScheme::Bearer), ("basic", HttpAuthScheme::Basic)] {
            let scheme = HttpBuilder::new().scheme(scheme).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// Adds the common answers to every operation.
pub(crate) fn complete(mut api: Description) -> Description {
    for item in api.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        operations.into_iter().flatten().for_each(complete_operation);
    }
    api
}

fn complete_operation(operation: &mut Operation) {
    for (status, description) in COMMON {
        if !operation.responses.responses.contains_key(*status) {
            operation.responses.responses.insert((*status).to_owned(), RefOr::T(problem(description)));
        }
    }
}

fn problem(description: &str) -> Response {
    let mut response = Response::new(description);
    let content = Content::new(Some(Ref::from_schema_name("Detail")));
    response.content.insert("application/json".to_owned(), RefOr::T(content));
    response
}
