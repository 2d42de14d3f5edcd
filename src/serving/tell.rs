//! Metadata, configuration and statistics, as the protocol and its extensions shape them.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use crate::model::{Service, Tally};
use crate::oip::{DataType, TensorSpec};

pub(super) const NAME: &str = "andon";
pub(super) const PLATFORM: &str = "onnxruntime_onnx";
pub(super) const EXTENSIONS: [&str; 6] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "statistics",
];
pub(super) const NO_PARAMETERS: &str =
    "a model is loaded as its card says: parameters (`config`, `file:…`) are not served";

/// A model's state in the repository's index, and its reason.
pub(super) const fn state(loaded: bool) -> (&'static str, &'static str) {
    if loaded { ("READY", "") } else { ("UNAVAILABLE", "unloaded") }
}

pub(super) fn server() -> Value {
    json!({
        "name": NAME,
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": EXTENSIONS,
    })
}

pub(super) fn metadata(service: &Service, versions: &[String]) -> Value {
    json!({
        "name": service.identity.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": service.signature.inputs.iter().filter_map(tensor).collect::<Vec<_>>(),
        "outputs": service.signature.outputs.iter().filter_map(tensor).collect::<Vec<_>>(),
    })
}

/// Nothing for what the protocol has no word for.
fn tensor(spec: &TensorSpec) -> Option<Value> {
    Some(json!({ "name": spec.name, "datatype": spec.kind?.word(), "shape": spec.shape }))
}

pub(super) fn config(service: &Service) -> Value {
    let identity = &service.identity;
    let kind = if identity.device.starts_with("cpu") { "KIND_CPU" } else { "KIND_GPU" };
    json!({
        "name": identity.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": { "specific": { "versions": [identity.version] } },
        // The shapes hold the batch, as they do in the graph.
        "max_batch_size": 0,
        "input": service.signature.inputs.iter().filter_map(configured).collect::<Vec<_>>(),
        "output": service.signature.outputs.iter().filter_map(configured).collect::<Vec<_>>(),
        "instance_group": [{ "name": identity.name, "kind": kind, "count": 1 }],
        "default_model_filename": "model.onnx",
        "parameters": {
            "device": { "string_value": identity.device },
            "sha256": { "string_value": identity.sha256 },
            "most_items": { "string_value": service.signature.max_batch.to_string() },
        },
    })
}

fn configured(spec: &TensorSpec) -> Option<Value> {
    let kind = match spec.kind? {
        DataType::Bytes => "STRING",
        kind => kind.word(),
    };
    Some(json!({ "name": spec.name, "data_type": format!("TYPE_{kind}"), "dims": spec.shape }))
}

pub(super) fn statistics(service: &Service) -> Value {
    let stats = &service.stats;
    let tally = |tally: &Tally| json!({ "count": tally.count.load(Relaxed), "ns": tally.nanos.load(Relaxed) });
    let nothing = json!({ "count": 0, "ns": 0 });
    let last = *stats.last.lock().unwrap_or_else(PoisonError::into_inner);
    json!({
        "name": service.identity.name,
        "version": service.identity.version,
        "last_inference": last.map_or(0, |last| last.as_millis()),
        "inference_count": stats.items.load(Relaxed),
        "execution_count": stats.ran.count.load(Relaxed),
        "inference_stats": {
            "success": tally(&stats.succeeded),
            "fail": tally(&stats.failed),
            "queue": tally(&stats.queued),
            // Tensors are built and read within the run.
            "compute_input": nothing,
            "compute_infer": tally(&stats.ran),
            "compute_output": nothing,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [],
    })
}
