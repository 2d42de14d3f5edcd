//! The routes of `/v2`, and with them those of gRPC.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Coding, HEADER_LENGTH, header_length, too_large};
use super::counter::{Counter, SMALL, apart};
use super::refusal::Refusal;
use super::shelf::Shelf;
use super::{grpc, tell};
use crate::http::Caller;
use crate::message::Origin;
use crate::model::Service;
use crate::oip::{self, Request};
use crate::telemetry::Overview;

type Answer = Result<Response, Refusal>;

/// A model's name, and its version where the path has one.
#[derive(Deserialize)]
struct Named {
    model: String,
    version: Option<String>,
}

fn find(counter: &Counter, named: &Named) -> Result<Service, Refusal> {
    counter.shelf.find(&named.model, named.version.as_deref())
}

/// The protocol for the models on `shelf`.
pub fn router(shelf: Arc<Shelf>, overview: Overview) -> Router {
    let counter = Counter { shelf, overview: Arc::new(overview), from: Origin::default() };
    let both =
        |routes: Router<Counter>, tail: &str, handler: axum::routing::MethodRouter<Counter>| {
            routes
                .route(&format!("/v2/models/{{model}}{tail}"), handler.clone())
                .route(&format!("/v2/models/{{model}}/versions/{{version}}{tail}"), handler)
        };
    let mut routes = Router::new()
        .route("/v2", get(|| async { Json(tell::server()) }))
        .route("/v2/", get(|| async { Json(tell::server()) }))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/stats", get(all_statistics))
        .route("/v2/repository/index", post(index))
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload));
    routes = both(routes, "", get(metadata));
    routes = both(routes, "/ready", get(model_ready));
    routes = both(routes, "/config", get(config));
    routes = both(routes, "/stats", get(statistics));
    routes = both(routes, "/infer", post(infer));
    routes
        .route("/v2/{*rest}", axum::routing::any(nowhere))
        .method_not_allowed_fallback(wrong_method)
        .merge(grpc::router())
        .with_state(counter)
}

async fn nowhere() -> Refusal {
    Refusal::unknown("Not Found: this is no path of the Open Inference Protocol, version 2")
}

async fn wrong_method() -> Refusal {
    Refusal { status: StatusCode::METHOD_NOT_ALLOWED, message: "Method Not Allowed".into() }
}

async fn live(State(counter): State<Counter>) -> Answer {
    counter.overview.healthy().map_err(Refusal::invalid)?;
    Ok(StatusCode::OK.into_response())
}

async fn ready(State(counter): State<Counter>) -> Answer {
    counter.overview.ready().map_err(Refusal::invalid)?;
    Ok(StatusCode::OK.into_response())
}

async fn model_ready(State(counter): State<Counter>, Path(named): Path<Named>) -> Answer {
    match find(&counter, &named) {
        Ok(service) if !service.is_closed() => Ok(StatusCode::OK.into_response()),
        Ok(_) => Err(Refusal::invalid("the model has stopped")),
        Err(refusal) => Err(Refusal::invalid(refusal.message)),
    }
}

async fn metadata(State(counter): State<Counter>, Path(named): Path<Named>) -> Answer {
    let service = find(&counter, &named)?;
    let versions = counter.shelf.versions(&named.model);
    Ok(Json(tell::metadata(&service, &versions)).into_response())
}

async fn config(State(counter): State<Counter>, Path(named): Path<Named>) -> Answer {
    Ok(Json(tell::config(&find(&counter, &named)?)).into_response())
}

async fn statistics(State(counter): State<Counter>, Path(named): Path<Named>) -> Answer {
    let told = tell::statistics(&find(&counter, &named)?);
    Ok(Json(json!({ "model_stats": [told] })).into_response())
}

async fn all_statistics(State(counter): State<Counter>) -> Json<Value> {
    let told: Vec<_> = counter.shelf.all().iter().map(tell::statistics).collect();
    Json(json!({ "model_stats": told }))
}

async fn index(State(counter): State<Counter>, request: HttpRequest) -> Answer {
    let asked = asked(&counter, request).await?;
    let only_ready = asked.get("ready").and_then(Value::as_bool).unwrap_or(false);
    let row = |(name, version, loaded): (String, String, bool)| {
        let (state, reason) = tell::state(loaded);
        json!({ "name": name, "version": version, "state": state, "reason": reason })
    };
    let rows = counter.index(only_ready).await?;
    Ok(Json(rows.into_iter().map(row).collect::<Vec<_>>()).into_response())
}

async fn load(
    State(mut counter): State<Counter>,
    Path(named): Path<Named>,
    Caller(from): Caller,
    request: HttpRequest,
) -> Answer {
    let asked = asked(&counter, request).await?;
    if asked.get("parameters").and_then(Value::as_object).is_some_and(|given| !given.is_empty()) {
        return Err(Refusal::invalid(tell::NO_PARAMETERS));
    }
    counter.from = from;
    counter.load(named.model).await?;
    Ok(StatusCode::OK.into_response())
}

async fn unload(
    State(mut counter): State<Counter>,
    Path(named): Path<Named>,
    Caller(from): Caller,
    request: HttpRequest,
) -> Answer {
    asked(&counter, request).await?;
    counter.from = from;
    counter.unload(&named.model)?;
    Ok(StatusCode::OK.into_response())
}

async fn infer(
    State(counter): State<Counter>,
    Path(named): Path<Named>,
    request: HttpRequest,
) -> Answer {
    let (coding, header) =
        (Coding::of_request(request.headers()), header_length(request.headers()));
    let packing = Coding::of_response(request.headers());
    let limit = counter.limit();
    // Whatever is wrong with the rest: the next request begins behind the body.
    let body = whole(&counter, request).await?;
    let service = find(&counter, &named)?;
    let (coding, header) = (coding?, header?);
    let small = body.len() <= SMALL && coding == Coding::Identity;
    let read = move || -> Result<Request, Refusal> {
        match coding {
            Coding::Identity => Ok(oip::parse(&body, header)?),
            coding => Ok(oip::parse(&coding.unpack(&body, limit)?, header)?),
        }
    };
    let mut request = if small { read() } else { apart(read).await? }?;
    let outputs = counter.ask(&service, &mut request).await?;
    let elements: usize = outputs.iter().map(|output| output.data.len()).sum();
    let small = elements <= SMALL / 8 && packing == Coding::Identity;
    let write = move || {
        let identity = &service.identity;
        let body = oip::encode(&request, &identity.name, &identity.version, &outputs)?;
        let packed = packing
            .pack(body.bytes)
            .map_err(|error| Refusal::broken(format!("the answer cannot be packed: {error}")))?;
        Ok::<_, Refusal>((packed, body.header))
    };
    let (bytes, header) = if small { write() } else { apart(write).await? }?;
    let mut response = bytes.into_response();
    let kind = if header.is_some() { "application/octet-stream" } else { "application/json" };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(header) = header {
        headers.insert(HEADER_LENGTH, header.into());
    }
    if let Some(word) = packing.word() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(word));
    }
    Ok(response)
}

async fn whole(counter: &Counter, mut request: HttpRequest) -> Result<Bytes, Refusal> {
    // No layer of the routes, which would be cloned and boxed for every request.
    DefaultBodyLimit::max(counter.limit()).apply(&mut request);
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(counter.limit()),
        _ => Refusal::invalid(rejection.body_text()),
    })
}

/// The JSON of a request that may come without any.
async fn asked(counter: &Counter, request: HttpRequest) -> Result<Value, Refusal> {
    let body = whole(counter, request).await?;
    if body.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::invalid(format!("the request's JSON cannot be read: {error}")))
}
