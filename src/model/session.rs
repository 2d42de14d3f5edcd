//! A model that predicts: frames in, numbers out, as its card says.

use std::time::Duration;

use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, SessionInputValue, SessionOutputs,
};
use ort::value::{DynMapValueType, DynSequenceValueType, Tensor, TensorRef};
use tokio::time::Instant;

use super::answer::Judge;
use super::card::Card;
use super::device::OnDevice;
use super::graph::{self, ClaimError, Element, Outlet, Read, Wiring};
use super::items::{Items, ItemsRef};
use super::maps::Maps;
use super::runtime::Runtime;
use crate::explain::Map;
use crate::frame::FrameSpec;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Each device of the chain with its reason.
    #[error("no device takes the model: {}", .0.join("; "))]
    NoDevice(Vec<String>),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Claims(Vec<ClaimError>),
}

/// The runtime failed on a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the model could not be run: {0}")]
pub struct RunError(pub(super) String);

impl From<ort::Error> for RunError {
    fn from(error: ort::Error) -> Self {
        Self(error.to_string())
    }
}

/// A loaded model that agrees with its card.
pub struct Session {
    graph: OnDevice,
    options: RunOptions<HasSelectedOutputs>,
    wiring: Wiring,
    judge: Judge,
    output: String,
    item_len: usize,
    /// Of the input; how many items there are comes first.
    shape: Vec<usize>,
    doubles: Vec<f64>,
    /// The output with the maps, where the card names one.
    map: Option<String>,
    maps: Maps,
    /// Of the last run.
    inside: Duration,
}

impl Session {
    pub fn load(
        runtime: &Runtime,
        card: &Card,
        spec: &FrameSpec,
        devices: &[String],
        onnx: &[u8],
    ) -> Result<Self, SessionError> {
        let mut graph = OnDevice::open(runtime, &card.runtime, devices, onnx)?;
        let outlets = |all: &[ort::value::Outlet]| all.iter().map(Outlet::from).collect::<Vec<_>>();
        let (inputs, outputs) = (outlets(graph.inner.inputs()), outlets(graph.inner.outputs()));
        let wiring = graph::check(card, spec, &inputs, &outputs).map_err(SessionError::Claims)?;
        let output = card.output.tensor.clone();
        // Any number of items, each by itself: that is how frames are run.
        graph.rows = wiring.batch.is_none().then(|| output.clone());
        let outputs = OutputSelector::no_default().with(&output);
        let outputs = card.output.map.iter().fold(outputs, OutputSelector::with);
        let options = RunOptions::new()
            .map_err(|error| SessionError::NoDevice(vec![error.to_string()]))?
            .with_outputs(outputs);
        Ok(Self {
            graph,
            options,
            judge: Judge::new(&card.output),
            output,
            item_len: spec.item_len(),
            shape: std::iter::once(0).chain(wiring.dims.iter().copied()).collect(),
            doubles: Vec::new(),
            map: card.output.map.clone(),
            maps: Maps::default(),
            inside: Duration::ZERO,
            wiring,
        })
    }

    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    pub fn device(&self) -> &str {
        &self.graph.device
    }

    /// How long the runtime itself had the last run.
    pub(super) const fn inside(&self) -> Duration {
        self.inside
    }

    /// Of an item of the last run.
    pub(super) fn map(&self, item: usize) -> Option<Map<'_>> {
        self.map.as_ref().and_then(|_| self.maps.of(item))
    }

    pub(super) fn into_graph(self) -> OnDevice {
        self.graph
    }

    pub(super) fn graph(&self) -> &OnDevice {
        &self.graph
    }

    pub(super) fn graph_mut(&mut self) -> &mut OnDevice {
        &mut self.graph
    }

    /// Numbers that one item takes; a text is one.
    pub fn item_len(&self) -> usize {
        self.item_len
    }

    /// Runs whole items, which stand one after the other, and puts what comes out, item after
    /// item, in `out`. Returns how many numbers an item has there.
    pub fn run(&mut self, items: ItemsRef<'_>, out: &mut Vec<f64>) -> Result<usize, RunError> {
        out.clear();
        self.maps.cells.clear();
        self.inside = Duration::ZERO;
        let count = items.len() / self.item_len;
        let Some(batch) = self.wiring.batch.filter(|batch| *batch != count) else {
            return self.run_batch(items, count, out);
        };
        let mut width = 0;
        for chunk in items.chunks(batch * self.item_len) {
            let padded = Items::padded(chunk, batch * self.item_len);
            width = self.run_batch(padded.lend(), batch, out)?;
        }
        out.truncate(count * width);
        Ok(width)
    }

    fn run_batch(
        &mut self,
        items: ItemsRef<'_>,
        count: usize,
        out: &mut Vec<f64>,
    ) -> Result<usize, RunError> {
        self.shape[0] = count;
        let shape = self.shape.as_slice();
        let input: SessionInputValue<'_> = match (items, self.wiring.element) {
            (ItemsRef::Texts(texts), _) => Tensor::from_string_array((shape, texts))?.into(),
            (ItemsRef::Numbers(numbers), Element::Double) => {
                self.doubles.clear();
                self.doubles.extend(numbers.iter().map(|value| f64::from(*value)));
                TensorRef::from_array_view((shape, self.doubles.as_slice()))?.into()
            }
            (ItemsRef::Numbers(numbers), _) => TensorRef::from_array_view((shape, numbers))?.into(),
        };
        let began = Instant::now();
        let outputs = self.graph.inner.run_with_options([input], &self.options)?;
        self.inside += began.elapsed();
        if let Some(name) = &self.map {
            self.maps.read(&outputs, name, count)?;
        }
        let before = out.len();
        read(&outputs, &self.output, self.wiring.read, &self.judge, out)?;
        let added = out.len() - before;
        if count == 0 || added == 0 || !added.is_multiple_of(count) {
            return Err(RunError(format!("{count} items went in and {added} numbers came out")));
        }
        Ok(added / count)
    }
}

fn read(
    outputs: &SessionOutputs<'_>,
    name: &str,
    how: Read,
    judge: &Judge,
    out: &mut Vec<f64>,
) -> Result<(), RunError> {
    let value = outputs.get(name).ok_or_else(|| RunError(format!("`{name}` did not come out")))?;
    match how {
        Read::Float32 => {
            out.extend(value.try_extract_tensor::<f32>()?.1.iter().map(|v| f64::from(*v)));
        }
        Read::Float64 => out.extend_from_slice(value.try_extract_tensor::<f64>()?.1),
        #[expect(clippy::cast_precision_loss, reason = "class numbers are small")]
        Read::Int64 => out.extend(value.try_extract_tensor::<i64>()?.1.iter().map(|v| *v as f64)),
        Read::Strings => {
            let (_, labels) = value.try_extract_strings()?;
            out.extend(labels.iter().map(|label| judge.column_of(label)));
        }
        Read::MapsOfInt | Read::MapsOfString => {
            let sequence = value.view().downcast::<DynSequenceValueType>()?;
            let width = judge.labels.len();
            for map in sequence.try_extract_sequence::<DynMapValueType>()? {
                let first = out.len();
                out.resize(first + width, f64::NAN);
                let mut put = |column: Option<usize>, value: f32| {
                    if let Some(place) = column.and_then(|column| out.get_mut(first + column)) {
                        *place = f64::from(value);
                    }
                };
                if how == Read::MapsOfInt {
                    for (key, value) in map.try_extract_key_values::<i64, f32>()? {
                        let by_label = judge.position(&key.to_string());
                        put(by_label.or_else(|| usize::try_from(key).ok()), value);
                    }
                } else {
                    for (key, value) in map.try_extract_key_values::<String, f32>()? {
                        put(judge.position(&key), value);
                    }
                }
            }
        }
    }
    Ok(())
}
