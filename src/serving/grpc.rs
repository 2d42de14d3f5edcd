//! The protocol's gRPC service, on the same port as its HTTP form: a client that begins with
//! HTTP/2 is understood there. The guard looks at its calls as at every request.

use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{Response, StatusCode};
use axum::routing::post;
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service as TowerService;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::counter::{Counter, SMALL, apart};
use super::refusal::Refusal;
use super::tell;
use crate::http::Caller;
use crate::model::{CallError, Service, Tally};
use crate::oip::grpc::{self, ModelInferRequest, ModelInferResponse};
use crate::oip::{DataType, TensorSpec};

pub(super) fn router() -> Router<Counter> {
    Router::new().route("/inference.GRPCInferenceService/{method}", post(method))
}

async fn method(
    State(mut counter): State<Counter>,
    Path(method): Path<String>,
    Caller(from): Caller,
    request: HttpRequest,
) -> Response<Body> {
    counter.from = from;
    let wire = Wire { counter, request };
    match method.as_str() {
        "ServerLive" => wire.unary(live).await,
        "ServerReady" => wire.unary(ready).await,
        "ModelReady" => wire.unary(model_ready).await,
        "ServerMetadata" => wire.unary(server).await,
        "ModelMetadata" => wire.unary(metadata).await,
        "ModelInfer" => wire.unary(infer).await,
        "ModelConfig" => wire.unary(config).await,
        "ModelStatistics" => wire.unary(statistics).await,
        "RepositoryIndex" => wire.unary(index).await,
        "RepositoryModelLoad" => wire.unary(load).await,
        "RepositoryModelUnload" => wire.unary(unload).await,
        other => Status::unimplemented(format!("`{other}` is not served here")).into_http(),
    }
}

type Answer<A> = Result<A, Status>;

async fn live(counter: Counter, _: grpc::Nothing) -> Answer<grpc::Yes> {
    Ok(grpc::Yes { yes: counter.overview.healthy().is_ok() })
}

async fn ready(counter: Counter, _: grpc::Nothing) -> Answer<grpc::Yes> {
    Ok(grpc::Yes { yes: counter.overview.ready().is_ok() })
}

async fn model_ready(counter: Counter, named: grpc::Named) -> Answer<grpc::Yes> {
    Ok(grpc::Yes { yes: find(&counter, &named).is_ok_and(|service| !service.is_closed()) })
}

async fn server(_: Counter, _: grpc::Nothing) -> Answer<grpc::ServerMetadata> {
    Ok(grpc::ServerMetadata {
        name: tell::NAME.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: tell::EXTENSIONS.iter().map(|word| (*word).to_owned()).collect(),
    })
}

async fn metadata(counter: Counter, named: grpc::Named) -> Answer<grpc::ModelMetadata> {
    let service = find(&counter, &named)?;
    let tensor = |spec: &TensorSpec| {
        let datatype = spec.kind?.word().into();
        let (name, shape) = (spec.name.clone(), spec.shape.clone());
        Some(grpc::TensorMetadata { name, datatype, shape })
    };
    Ok(grpc::ModelMetadata {
        name: service.identity.name.clone(),
        versions: counter.shelf.versions(&named.name),
        platform: tell::PLATFORM.into(),
        inputs: service.signature.inputs.iter().filter_map(tensor).collect(),
        outputs: service.signature.outputs.iter().filter_map(tensor).collect(),
    })
}

async fn infer(counter: Counter, message: ModelInferRequest) -> Answer<ModelInferResponse> {
    let (name, version) = (message.model_name.clone(), message.model_version.clone());
    let service = find(&counter, &grpc::Named { name, version })?;
    let small = message.encoded_len() <= SMALL;
    let read = move || grpc::read(message).map_err(Refusal::from);
    let mut request = if small { read() } else { apart(read).await? }?;
    let outputs = counter.ask(&service, &mut request).await.map_err(|error| match error {
        CallError::Late(_) => Status::deadline_exceeded(error.to_string()),
        error => Refusal::from(error).into(),
    })?;
    let identity = &service.identity;
    Ok(grpc::told(request.id, &identity.name, &identity.version, &outputs))
}

async fn config(counter: Counter, named: grpc::Named) -> Answer<grpc::ModelConfigResponse> {
    let service = find(&counter, &named)?;
    let input = |spec: &TensorSpec| {
        let (name, dims) = (spec.name.clone(), spec.shape.clone());
        Some(grpc::ModelInput { name, data_type: number(spec.kind?), dims })
    };
    let output = |spec: &TensorSpec| {
        let (name, dims) = (spec.name.clone(), spec.shape.clone());
        Some(grpc::ModelOutput { name, data_type: number(spec.kind?), dims })
    };
    let config = grpc::ModelConfig {
        name: service.identity.name.clone(),
        platform: tell::PLATFORM.into(),
        // The shapes hold the batch, as they do in the graph.
        max_batch_size: 0,
        input: service.signature.inputs.iter().filter_map(input).collect(),
        output: service.signature.outputs.iter().filter_map(output).collect(),
        default_model_filename: "model.onnx".into(),
        backend: "onnxruntime".into(),
    };
    Ok(grpc::ModelConfigResponse { config: Some(config) })
}

/// As Triton's configuration counts its data types.
fn number(kind: DataType) -> i32 {
    match kind {
        DataType::Bool => 1,
        DataType::Uint8 => 2,
        DataType::Uint16 => 3,
        DataType::Uint32 => 4,
        DataType::Uint64 => 5,
        DataType::Int8 => 6,
        DataType::Int16 => 7,
        DataType::Int32 => 8,
        DataType::Int64 => 9,
        DataType::Fp32 => 11,
        DataType::Fp64 => 12,
        DataType::Bytes => 13,
    }
}

async fn statistics(counter: Counter, named: grpc::Named) -> Answer<grpc::ModelStatisticsResponse> {
    let services =
        if named.name.is_empty() { counter.shelf.all() } else { vec![find(&counter, &named)?] };
    let tally = |tally: &Tally| {
        let (count, ns) = (tally.count(), tally.nanos.load(Relaxed));
        Some(grpc::StatisticDuration { count, ns })
    };
    let told = |service: &Service| {
        let stats = &service.stats;
        let last = *stats.last.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = last.map_or(0, |last| last.as_millis());
        grpc::ModelStatistics {
            name: service.identity.name.clone(),
            version: service.identity.version.clone(),
            last_inference: u64::try_from(millis).unwrap_or(0),
            inference_count: stats.items.load(Relaxed),
            execution_count: stats.ran.count(),
            inference_stats: Some(grpc::InferStatistics {
                success: tally(&stats.succeeded),
                fail: tally(&stats.failed),
                queue: tally(&stats.queued),
                compute_infer: tally(&stats.ran),
            }),
        }
    };
    Ok(grpc::ModelStatisticsResponse { model_stats: services.iter().map(told).collect() })
}

async fn index(
    counter: Counter,
    asked: grpc::RepositoryIndexRequest,
) -> Answer<grpc::RepositoryIndex> {
    let row = |(name, version, loaded): (String, String, bool)| {
        let (state, reason) = tell::state(loaded);
        grpc::ModelIndex { name, version, state: state.into(), reason: reason.into() }
    };
    let rows = counter.index(asked.ready).await?;
    Ok(grpc::RepositoryIndex { models: rows.into_iter().map(row).collect() })
}

async fn load(counter: Counter, asked: grpc::RepositoryModelRequest) -> Answer<grpc::Nothing> {
    if !asked.parameters.is_empty() {
        return Err(Refusal::invalid(tell::NO_PARAMETERS).into());
    }
    counter.load(asked.model_name).await?;
    Ok(grpc::Nothing {})
}

async fn unload(counter: Counter, asked: grpc::RepositoryModelRequest) -> Answer<grpc::Nothing> {
    counter.unload(&asked.model_name)?;
    Ok(grpc::Nothing {})
}

fn find(counter: &Counter, named: &grpc::Named) -> Result<Service, Refusal> {
    let version = Some(named.version.as_str()).filter(|version| !version.is_empty());
    counter.shelf.find(&named.name, version)
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.status {
            StatusCode::BAD_REQUEST => Code::InvalidArgument,
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::Internal,
        };
        Self::new(code, refusal.message)
    }
}

/// One call, as it came in.
struct Wire {
    counter: Counter,
    request: HttpRequest,
}

impl Wire {
    /// Reads one message, lets `handler` answer it, and writes that.
    async fn unary<Q, A, F, H>(self, handler: H) -> Response<Body>
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Future<Output = Answer<A>> + Send + 'static,
        H: FnOnce(Counter, Q) -> F + Send + 'static,
    {
        let limit = self.counter.limit();
        let mut grpc = Grpc::new(ProstCodec::<A, Q>::default())
            .apply_max_message_size_config(Some(limit), None)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Deflate);
        let one = One(Some((self.counter, handler)));
        grpc.unary(one, self.request).await.map(Body::new)
    }
}

/// A service for the one message of one call.
struct One<H>(Option<(Counter, H)>);

impl<Q, A, F, H> TowerService<tonic::Request<Q>> for One<H>
where
    A: 'static,
    F: Future<Output = Answer<A>> + Send + 'static,
    H: FnOnce(Counter, Q) -> F,
{
    type Response = tonic::Response<A>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let (counter, handler) = self.0.take().expect("a unary call has one message");
        let answer = handler(counter, request.into_inner());
        Box::pin(async move { answer.await.map(tonic::Response::new) })
    }
}
