//! One graph in ONNX Runtime: opened on the first device that will have it, and run with the
//! tensors that a request brings.

use ort::ep;
use ort::logging::LogLevel;
use ort::session::builder::{AutoDevicePolicy, SessionBuilder};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor as OrtTensor, TensorElementType, ValueType};

use super::assignment;
use super::card::SessionSettings;
use super::runtime::Runtime;
use super::session::{RunError, SessionError};
use crate::oip::{Data, DataType, Signature, Tensor, TensorSpec};

pub(super) struct OnDevice {
    pub(super) inner: ort::session::Session,
    /// `cpu`, or `cuda+cpu` when some nodes fell back: as the runtime assigned them.
    pub(super) device: String,
    /// An output that has a row for each of the one input's, where the card says so.
    pub(super) rows: Option<String>,
    /// Of the last request: most ask for the same outputs.
    chosen: Option<(Vec<String>, RunOptions<HasSelectedOutputs>)>,
}

impl OnDevice {
    pub(super) fn open(
        runtime: &Runtime,
        settings: &SessionSettings,
        devices: &[String],
        onnx: &[u8],
    ) -> Result<Self, SessionError> {
        let (inner, device) = open(runtime, settings, devices, onnx)?;
        Ok(Self { inner, device, rows: None, chosen: None })
    }

    pub(super) fn signature(&self, max_batch: usize) -> Signature {
        Signature {
            inputs: self.inner.inputs().iter().map(spec).collect(),
            outputs: self.inner.outputs().iter().map(spec).collect(),
            max_batch,
        }
    }

    /// Runs the graph on tensors that fit its signature; gives `outputs` in their order.
    pub(super) fn serve(
        &mut self,
        inputs: Vec<Tensor>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        let options = match self.chosen.take() {
            Some((names, options)) if names == outputs => options,
            _ => {
                let none = OutputSelector::no_default();
                let selector = outputs.iter().fold(none, |selector, name| selector.with(name));
                RunOptions::new()?.with_outputs(selector)
            }
        };
        let mut values: Vec<(String, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for Tensor { name, shape, data } in inputs {
            values.push((name, value(shape, data)?.into()));
        }
        let done = self.inner.run_with_options(values, &options)?;
        let read = |name: &String| {
            let out = done.get(name).ok_or_else(|| RunError(format!("`{name}` did not come out")));
            tensor(name, out?)
        };
        let told = outputs.iter().map(read).collect();
        drop(done);
        self.chosen = Some((outputs.to_vec(), options));
        told
    }
}

fn spec(outlet: &Outlet) -> TensorSpec {
    let (kind, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => (kind(*ty), shape.to_vec()),
        _ => (None, Vec::new()),
    };
    TensorSpec { name: outlet.name().into(), kind, shape }
}

fn kind(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}

fn value(shape: Vec<usize>, data: Data) -> Result<DynValue, RunError> {
    Ok(match data {
        Data::Bool(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Uint8(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Uint16(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Uint32(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Uint64(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Int8(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Int16(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Int32(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Int64(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Fp32(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Fp64(elements) => OrtTensor::from_array((shape, elements))?.into_dyn(),
        Data::Bytes(elements) => {
            OrtTensor::from_string_array((shape, elements.as_slice()))?.into_dyn()
        }
    })
}

fn tensor(name: &str, value: &DynValue) -> Result<Tensor, RunError> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(RunError(format!("`{name}` came out as no tensor")));
    };
    let kind = kind(*ty).ok_or_else(|| RunError(format!("`{name}` came out as {ty}")))?;
    let data = match kind {
        DataType::Bool => Data::Bool(value.try_extract_tensor()?.1.to_vec()),
        DataType::Uint8 => Data::Uint8(value.try_extract_tensor()?.1.to_vec()),
        DataType::Uint16 => Data::Uint16(value.try_extract_tensor()?.1.to_vec()),
        DataType::Uint32 => Data::Uint32(value.try_extract_tensor()?.1.to_vec()),
        DataType::Uint64 => Data::Uint64(value.try_extract_tensor()?.1.to_vec()),
        DataType::Int8 => Data::Int8(value.try_extract_tensor()?.1.to_vec()),
        DataType::Int16 => Data::Int16(value.try_extract_tensor()?.1.to_vec()),
        DataType::Int32 => Data::Int32(value.try_extract_tensor()?.1.to_vec()),
        DataType::Int64 => Data::Int64(value.try_extract_tensor()?.1.to_vec()),
        DataType::Fp32 => Data::Fp32(value.try_extract_tensor()?.1.to_vec()),
        DataType::Fp64 => Data::Fp64(value.try_extract_tensor()?.1.to_vec()),
        DataType::Bytes => Data::Bytes(value.try_extract_strings()?.1),
    };
    let shape = shape
        .iter()
        .map(|dim| usize::try_from(*dim).map_err(|_| RunError(format!("`{name}` has no size"))))
        .collect::<Result<_, _>>()?;
    Ok(Tensor { name: name.into(), shape, data })
}

/// Opens the model on the first device of the chain that works; says which providers took nodes.
fn open(
    runtime: &Runtime,
    settings: &SessionSettings,
    devices: &[String],
    onnx: &[u8],
) -> Result<(ort::session::Session, String), SessionError> {
    let mut reasons = Vec::new();
    let chain = if settings.strict { &devices[..devices.len().min(1)] } else { devices };
    for device in chain {
        let opened = builder(runtime, settings, device)
            .and_then(|mut builder| builder.commit_from_memory(onnx));
        match opened {
            Ok(session) => {
                let used = used(&session, device);
                if !reasons.is_empty() {
                    tracing::warn!(
                        device = used,
                        reasons = reasons.join("; "),
                        "the model fell back to a later device of its chain"
                    );
                }
                return Ok((session, used));
            }
            Err(error) => reasons.push(format!("{device}: {error}")),
        }
    }
    Err(SessionError::NoDevice(reasons))
}

fn builder(
    runtime: &Runtime,
    settings: &SessionSettings,
    device: &str,
) -> ort::Result<SessionBuilder> {
    let provider = match device {
        "tensorrt" => Some(ep::TensorRT::default().build()),
        "cuda" => Some(ep::CUDA::default().build()),
        "openvino" => Some(ep::OpenVINO::default().build()),
        _ => None,
    };
    let mut builder = ort::session::Session::builder(&runtime.environment)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .with_log_level(LogLevel::Warning)?
        .with_intra_threads(settings.threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
    if settings.strict && provider.is_some() {
        builder = builder.with_disable_cpu_fallback()?;
    }
    // Without an arena the runtime keeps nothing between batches; small models lose no time by it.
    let cpu = ep::CPU::default().with_arena_allocator(false).build().error_on_failure();
    let providers: Vec<_> =
        provider.map(|p| p.error_on_failure()).into_iter().chain([cpu]).collect();
    Ok(builder.with_execution_providers(providers)?)
}

fn used(session: &ort::session::Session, asked: &str) -> String {
    let providers = assignment::providers(session);
    if providers.is_empty() {
        return asked.to_owned();
    }
    let names: Vec<_> = providers.iter().map(|(provider, _)| device_name(provider)).collect();
    names.join("+")
}

fn device_name(provider: &str) -> String {
    let short = provider.strip_suffix("ExecutionProvider").unwrap_or(provider);
    short.to_ascii_lowercase()
}
