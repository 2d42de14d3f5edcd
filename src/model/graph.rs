//! The card's claims against the ONNX graph, or against what a model server says of its model:
//! names, dimensions, element types.

use std::fmt;

use ort::value::{TensorElementType, ValueType};

use super::card::{Card, OutputKind};
use crate::frame::FrameSpec;
use crate::oip;

/// A claim of the card that the graph does not bear out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ClaimError {
    /// Dotted path in the card.
    pub key: String,
    /// "expected … got …"
    pub message: String,
}

/// An input or output, as the graph has it or a server describes it.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    name: String,
    kind: Kind,
    /// Of a tensor; -1 stands for any size.
    shape: Vec<i64>,
    /// What errors call the whole, and its elements.
    word: String,
    element: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tensor(Option<Read>),
    Maps(Read),
    Other,
}

impl From<&ort::value::Outlet> for Outlet {
    fn from(outlet: &ort::value::Outlet) -> Self {
        let dtype = outlet.dtype();
        let (kind, element) = match dtype {
            ValueType::Tensor { ty, .. } => {
                let read = match ty {
                    TensorElementType::Float32 => Some(Read::Float32),
                    TensorElementType::Float64 => Some(Read::Float64),
                    TensorElementType::Int64 => Some(Read::Int64),
                    TensorElementType::String => Some(Read::Strings),
                    _ => None,
                };
                (Kind::Tensor(read), ty.to_string())
            }
            ValueType::Sequence(inner) => {
                let kind = match inner.as_ref() {
                    ValueType::Map {
                        key: TensorElementType::Int64,
                        value: TensorElementType::Float32,
                    } => Kind::Maps(Read::MapsOfInt),
                    ValueType::Map {
                        key: TensorElementType::String,
                        value: TensorElementType::Float32,
                    } => Kind::Maps(Read::MapsOfString),
                    _ => Kind::Other,
                };
                (kind, String::new())
            }
            _ => (Kind::Other, String::new()),
        };
        let shape = dtype.tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
        Self { name: outlet.name().into(), kind, shape, word: dtype.to_string(), element }
    }
}

impl From<&oip::Port> for Outlet {
    fn from(port: &oip::Port) -> Self {
        let read = match port.datatype.as_str() {
            "FP32" => Some(Read::Float32),
            "FP64" => Some(Read::Float64),
            "INT64" => Some(Read::Int64),
            "BYTES" => Some(Read::Strings),
            _ => None,
        };
        Self {
            name: port.name.clone(),
            kind: Kind::Tensor(read),
            shape: port.shape.clone(),
            word: format!("{}{:?}", port.datatype, port.shape),
            element: port.datatype.clone(),
        }
    }
}

/// How to feed and read the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wiring {
    pub(super) element: Element,
    /// Dimensions of one item, as the graph has them.
    pub(super) dims: Vec<usize>,
    /// Absent: as many items as wanted.
    pub(super) batch: Option<usize>,
    pub(super) read: Read,
}

/// What the graph's input is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Float,
    Double,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Float32,
    Float64,
    Int64,
    Strings,
    MapsOfInt,
    MapsOfString,
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "FP32",
            Self::Float64 => "FP64",
            Self::Int64 => "INT64",
            Self::Strings => "BYTES",
            Self::MapsOfInt | Self::MapsOfString => "a ZipMap",
        })
    }
}

/// Where the claims of a local model are held against.
const GRAPH: &str = "in the graph";

/// Checks all claims; every difference at once.
pub(super) fn check(
    card: &Card,
    spec: &FrameSpec,
    inputs: &[Outlet],
    outputs: &[Outlet],
) -> Result<Wiring, Vec<ClaimError>> {
    let mut errors = Vec::new();
    let mut claim =
        |key: &str, message: String| errors.push(ClaimError { key: key.into(), message });
    let input = check_input(card, spec, (inputs, GRAPH), &mut claim);
    let output = check_output(card, spec, (outputs, GRAPH), &mut claim);
    check_map(card, outputs, &mut claim);
    match (input, output) {
        (Some((element, dims, batch)), Some(read)) if errors.is_empty() => {
            Ok(Wiring { element, dims, batch, read })
        }
        _ => Err(errors),
    }
}

/// The input's elements, an item's dimensions, and the batch where it is fixed.
pub(super) type Input = (Element, Vec<usize>, Option<usize>);

pub(super) fn check_input(
    card: &Card,
    spec: &FrameSpec,
    (inputs, place): (&[Outlet], &str),
    claim: &mut impl FnMut(&str, String),
) -> Option<Input> {
    const KEY: &str = "input.tensor";
    if let [_, second, ..] = inputs {
        let all = names(inputs);
        claim(
            KEY,
            format!(
                "expected a graph with one input, got {all}; `{}` has no value to take",
                second.name
            ),
        );
    }
    let Some(input) = inputs.iter().find(|input| input.name == card.input.tensor) else {
        claim(KEY, format!("expected `{}`, got {} {place}", card.input.tensor, names(inputs)));
        return None;
    };
    let Kind::Tensor(element) = input.kind else {
        claim(KEY, format!("expected a tensor, got {}", input.word));
        return None;
    };
    let element = match (element, spec.text.is_some()) {
        (Some(Read::Float32), false) => Element::Float,
        (Some(Read::Float64), false) => Element::Double,
        (Some(Read::Strings), true) => Element::Text,
        (_, true) => {
            let got = &input.element;
            claim(KEY, format!("expected strings, as layout `text` has them, got {got}"));
            return None;
        }
        (Some(Read::Strings), false) => {
            let message = "expected float32 or float64, got strings, which go with layout `text`";
            claim(KEY, message.into());
            return None;
        }
        (_, false) => {
            claim(KEY, format!("expected float32 or float64, got {}", input.element));
            return None;
        }
    };
    let shape = &input.shape;
    let expected = spec.item_shape();
    let fits = shape.split_first().and_then(|(batch, rest)| Some((*batch, fit(rest, &expected)?)));
    let Some((batch, dims)) = fits else {
        let message =
            format!("expected {} from the card, got {}", claimed(&expected), dimensions(shape));
        claim(
            if spec.text.is_some() {
                KEY
            } else if spec.image.is_some() {
                "input.image"
            } else if spec.tags.len() > 1 && expected.len() == 2 {
                "input.order"
            } else {
                "input.tag"
            },
            message,
        );
        return None;
    };
    Some((element, dims, usize::try_from(batch).ok().filter(|batch| *batch > 0)))
}

/// `graph`'s dimensions with `expected` put into the open ones, if they agree.
fn fit(graph: &[i64], expected: &[usize]) -> Option<Vec<usize>> {
    let flat: usize = expected.iter().product();
    if let [only] = graph
        && (*only < 0 || usize::try_from(*only) == Ok(flat))
    {
        return Some(vec![flat]);
    }
    let mut wanted = expected.iter().copied().peekable();
    let mut dims = Vec::with_capacity(graph.len());
    let mut spare = graph.len().checked_sub(expected.len())?;
    for dim in graph {
        let size = usize::try_from(*dim).ok();
        match wanted.peek() {
            Some(want)
                if size.is_none_or(|size| size == *want)
                    && (size != Some(1) || spare == 0 || *want == 1) =>
            {
                dims.push(*want);
                wanted.next();
            }
            _ if size == Some(1) && spare > 0 => {
                spare -= 1;
                dims.push(1);
            }
            _ => return None,
        }
    }
    (wanted.next().is_none() && dims.iter().product::<usize>() == flat).then_some(dims)
}

pub(super) fn check_output(
    card: &Card,
    spec: &FrameSpec,
    (outputs, place): (&[Outlet], &str),
    claim: &mut impl FnMut(&str, String),
) -> Option<Read> {
    const KEY: &str = "output.tensor";
    let Some(output) = outputs.iter().find(|output| output.name == card.output.tensor) else {
        let (wanted, got) = (&card.output.tensor, names(outputs));
        claim(KEY, format!("expected `{wanted}`, got {got} {place}"));
        return None;
    };
    let (Kind::Tensor(Some(read)) | Kind::Maps(read)) = output.kind else {
        let got = &output.word;
        claim(KEY, format!("expected float, int64 or string numbers or a ZipMap, got {got}"));
        return None;
    };
    let kind = card.output.kind;
    let floats = matches!(read, Read::Float32 | Read::Float64);
    let maps = matches!(read, Read::MapsOfInt | Read::MapsOfString);
    let suits = match kind {
        OutputKind::Probability => floats || maps,
        OutputKind::Class => true,
        OutputKind::Value | OutputKind::Reconstruction => floats,
    };
    if !suits {
        claim("output.kind", format!("{kind:?} does not go with a tensor of {}", output.word));
        return None;
    }
    if maps && card.output.labels.is_empty() {
        claim("output.labels", "missing; a ZipMap's columns need their labels".into());
    }
    if let (Some(width), true) = (output.width(), floats) {
        check_width(card, spec, width, claim);
    }
    Some(read)
}

fn check_map(card: &Card, outputs: &[Outlet], claim: &mut impl FnMut(&str, String)) {
    const KEY: &str = "output.map";
    let Some(name) = &card.output.map else { return };
    let Some(map) = outputs.iter().find(|output| output.name == *name) else {
        return claim(KEY, format!("expected `{name}`, got {} {GRAPH}", names(outputs)));
    };
    let floats = matches!(map.kind, Kind::Tensor(Some(Read::Float32 | Read::Float64)));
    if !floats || !matches!(map.shape[..], [_, _, _] | [_, ..=1, _, _] | [_, _, _, ..=1]) {
        let expected = "expected a tensor of floats, [N, height, width] or with one channel";
        claim(KEY, format!("{expected}, got {}", map.word));
    }
}

fn check_width(card: &Card, spec: &FrameSpec, width: usize, claim: &mut impl FnMut(&str, String)) {
    let labels = card.output.labels.len();
    match card.output.kind {
        OutputKind::Probability if width == 1 => {
            let second = card.output.labels.get(1..).unwrap_or_default();
            if labels > 2 || (labels == 2 && card.output.positive != second) {
                claim(
                    "output.labels",
                    format!("expected [negative, positive] for one column, got {labels} labels"),
                );
            }
        }
        OutputKind::Probability | OutputKind::Class if width != labels => {
            claim("output.labels", format!("expected one a column ({width}), got {labels}"));
        }
        OutputKind::Value => {
            let column = card.output.column.unwrap_or(0);
            if column >= width {
                claim("output.column", format!("expected 0 to {}, got {column}", width - 1));
            } else if width > 1 && card.output.column.is_none() {
                claim("output.column", format!("missing; the tensor has {width} columns"));
            }
        }
        OutputKind::Reconstruction if width != spec.item_len() => {
            claim(
                "output.tensor",
                format!("expected the input's {} cells, got {width}", spec.item_len()),
            );
        }
        _ => {}
    }
}

impl Outlet {
    /// Numbers an item, where that is told; `[N]` has one.
    pub(super) fn width(&self) -> Option<usize> {
        if !matches!(self.kind, Kind::Tensor(_)) {
            return None;
        }
        let dims = self.shape.iter().skip(1);
        dims.into_iter()
            .try_fold(1, |product: usize, dim| product.checked_mul(usize::try_from(*dim).ok()?))
    }
}

fn names(outlets: &[Outlet]) -> String {
    outlets.iter().map(|outlet| format!("`{}`", outlet.name)).collect::<Vec<_>>().join(", ")
}

fn claimed(item: &[usize]) -> String {
    if item.is_empty() {
        return "[N] or [N, 1]".into();
    }
    let dims: Vec<_> = item.iter().map(ToString::to_string).collect();
    format!("[N, {}]", dims.join(", "))
}

fn dimensions(shape: &[i64]) -> String {
    let dims: Vec<_> = shape
        .iter()
        .enumerate()
        .map(|(at, dim)| match (at, *dim) {
            (0, ..0) => "N".to_owned(),
            (_, ..0) => "?".to_owned(),
            (_, dim) => dim.to_string(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn series_fit_flat_open_and_padded_dimensions() {
        let rows_tags = [64, 10];
        assert_eq!(fit(&[64, 10], &rows_tags), Some(vec![64, 10]));
        assert_eq!(fit(&[-1, 10], &rows_tags), Some(vec![64, 10]));
        assert_eq!(fit(&[640], &rows_tags), Some(vec![640]));
        assert_eq!(fit(&[-1], &rows_tags), Some(vec![640]));
        assert_eq!(fit(&[1, 64, 10], &rows_tags), Some(vec![1, 64, 10]));
        assert_eq!(fit(&[64, 10, 1], &rows_tags), Some(vec![64, 10, 1]));
        assert_eq!(fit(&[1, 64, 1], &[64, 1]), Some(vec![1, 64, 1]));
    }

    #[test]
    fn a_text_fits_one_string_an_item() {
        assert_eq!(fit(&[], &[]), Some(vec![]));
        assert_eq!(fit(&[1], &[]), Some(vec![1]));
        assert_eq!(fit(&[-1], &[]), Some(vec![1]));
        assert_eq!(fit(&[2], &[]), None);
        assert_eq!(fit(&[1, 2], &[]), None);
    }

    #[test]
    fn other_dimensions_do_not_fit() {
        for graph in [&[10, 64][..], &[64, 11], &[639], &[2, 64, 10], &[64, 10, 2], &[]] {
            assert_eq!(fit(graph, &[64, 10]), None, "{graph:?}");
        }
    }
}
