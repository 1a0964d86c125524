//! The paths of the pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::services::ServeDir;

use super::state::Pages;
use super::{converse, front, guard, invitation, join};
use crate::net::web::state::Web;

/// All of them that are switched on.
pub fn routes(web: Arc<Web>) -> Router {
    let (is_on, folder) = (web.settings.pages, web.settings.converse.join(converse::FILES));
    let state = Arc::new(Pages::new(web));
    // `..` in any form is refused; folders have no lists.
    let files = ServeDir::new(folder).append_index_html_on_directories(false);
    let mut routes = Router::new()
        .nest_service("/chat/dist", files)
        .layer(map_response(guard::file))
        .route("/chat", get(converse::to_folder))
        .route("/chat/", get(converse::page))
        .route("/chat/config.js", get(converse::script))
        .route("/chat/{file}", get(converse::beside));
    if is_on {
        let own = Router::new()
            .route("/", get(front::show))
            .route("/i/{token}", get(invitation::show).post(invitation::submit))
            .route("/join", get(join::show).post(join::submit))
            .route("/pages/{name}", get(asset))
            .route_layer(map_response(guard::page));
        routes = routes.merge(own);
    }
    routes.with_state(state)
}

/// A file that comes with the program.
async fn asset(State(pages): State<Arc<Pages>>, Path(name): Path<String>) -> Response {
    let Some((content, media_type)) = pages.assets.find(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers =
        [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, content).into_response()
}
