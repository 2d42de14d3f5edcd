//! What a model takes and gives, and whether a request fits it.

use super::Invalid;
use super::tensor::{Data, DataType, Tensor};

/// One tensor of a graph; -1 stands for a dimension of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    /// Absent where the protocol served here has no word for it.
    pub kind: Option<DataType>,
    pub shape: Vec<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
    /// Most items at once, where the first dimension is open.
    pub max_batch: usize,
}

impl Signature {
    /// Every input there once, of its datatype and shape; every output known.
    pub fn check<'a>(
        &self,
        inputs: &[Tensor],
        outputs: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Invalid> {
        if inputs.len() != self.inputs.len() {
            let (expected, got) = (self.inputs.len(), inputs.len());
            let names = names(&self.inputs);
            return Invalid::new(format!("expected {expected} inputs ({names}), got {got}"));
        }
        for (at, input) in inputs.iter().enumerate() {
            if inputs[..at].iter().any(|earlier| earlier.name == input.name) {
                return Invalid::new(format!("input `{}` stands twice", input.name));
            }
            self.check_input(input)?;
        }
        for name in outputs {
            let Some(output) = self.outputs.iter().find(|output| output.name == name) else {
                return Invalid::new(format!(
                    "unexpected output `{name}`; the model has {}",
                    names(&self.outputs)
                ));
            };
            if output.kind.is_none() {
                return Invalid::new(format!("output `{name}` is of a kind that is not served"));
            }
        }
        Ok(())
    }

    fn check_input(&self, input: &Tensor) -> Result<(), Invalid> {
        let name = &input.name;
        let Some(spec) = self.inputs.iter().find(|spec| spec.name == *name) else {
            return Invalid::new(format!(
                "unexpected input `{name}`; the model has {}",
                names(&self.inputs)
            ));
        };
        let got = input.data.kind();
        if spec.kind != Some(got) {
            let expected = spec.kind.map_or("a datatype that is not served", DataType::word);
            return Invalid::new(format!("input `{name}`: expected {expected}, got {got}"));
        }
        let fits = |(expected, got): (&i64, &usize)| {
            *expected < 0 || usize::try_from(*expected) == Ok(*got)
        };
        let same =
            spec.shape.len() == input.shape.len() && spec.shape.iter().zip(&input.shape).all(fits);
        if !same {
            return Invalid::new(format!(
                "input `{name}`: expected shape {:?}, got {:?}",
                spec.shape, input.shape
            ));
        }
        if spec.shape.first().is_some_and(|first| *first < 0) && input.shape[0] > self.max_batch {
            return Invalid::new(format!(
                "input `{name}`: {} items are more than the model takes at once, {}",
                input.shape[0], self.max_batch
            ));
        }
        if input.data.is_empty() {
            return Invalid::new(format!("input `{name}` has no elements"));
        }
        if let Data::Bytes(texts) = &input.data
            && let Some(at) = texts.iter().position(|text| text.contains('\0'))
        {
            return Invalid::new(format!(
                "input `{name}`: element {at} holds a zero byte, which models' strings cannot"
            ));
        }
        Ok(())
    }
}

fn names(specs: &[TensorSpec]) -> String {
    specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ")
}
