//! Finds tensors whose weights lie outside the `.onnx` file.
//!
//! Such a model would read whatever file its bytes name, and the hash in the card would not
//! cover its weights. Reads just enough protobuf (ONNX `onnx.proto`, field numbers as there).

/// The first outside file that `model` names, if any. Bytes that are no protobuf name none; the
/// runtime refuses them later.
pub(crate) fn outside_file(model: &[u8]) -> Option<String> {
    const GRAPH: u64 = 7;
    const FUNCTIONS: u64 = 25;
    fields(model).find_map(|(number, bytes)| match number {
        GRAPH => in_graph(bytes, 0),
        FUNCTIONS => fields(bytes).find_map(|(n, node)| (n == 7).then(|| in_node(node, 0))?),
        _ => None,
    })
}

/// Subgraphs in subgraphs; deeper ones are refused as if they named a file.
const MOST_NESTED: u8 = 32;

fn in_graph(graph: &[u8], depth: u8) -> Option<String> {
    const NODE: u64 = 1;
    const INITIALIZER: u64 = 5;
    const SPARSE_INITIALIZER: u64 = 15;
    if depth > MOST_NESTED {
        return Some("(graphs nested too deeply)".into());
    }
    fields(graph).find_map(|(number, bytes)| match number {
        NODE => in_node(bytes, depth),
        INITIALIZER => in_tensor(bytes),
        SPARSE_INITIALIZER => in_sparse(bytes),
        _ => None,
    })
}

fn in_node(node: &[u8], depth: u8) -> Option<String> {
    const ATTRIBUTE: u64 = 5;
    let attributes = fields(node).filter(|(number, _)| *number == ATTRIBUTE);
    attributes.flat_map(|(_, bytes)| fields(bytes)).find_map(|(number, bytes)| match number {
        5 | 10 => in_tensor(bytes),
        6 | 11 => in_graph(bytes, depth + 1),
        22 | 23 => in_sparse(bytes),
        _ => None,
    })
}

fn in_sparse(sparse: &[u8]) -> Option<String> {
    fields(sparse).find_map(|(number, bytes)| (number <= 2).then(|| in_tensor(bytes))?)
}

fn in_tensor(tensor: &[u8]) -> Option<String> {
    const EXTERNAL_DATA: u64 = 13;
    let mut entries = fields(tensor).filter(|(number, _)| *number == EXTERNAL_DATA).peekable();
    entries.peek()?;
    let location = entries.find_map(|(_, entry)| {
        let text = |wanted| fields(entry).find(|(number, _)| *number == wanted).map(|(_, b)| b);
        (text(1)? == b"location").then(|| String::from_utf8_lossy(text(2)?).into_owned().into())?
    });
    Some(location.unwrap_or_else(|| "(unnamed)".into()))
}

/// The length-delimited fields of a message; ends at the first byte that makes no sense.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut bytes)?;
            match key & 7 {
                0 => drop(varint(&mut bytes)?),
                1 => bytes = bytes.get(8..)?,
                5 => bytes = bytes.get(4..)?,
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    let (field, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    return Some((key >> 3, field));
                }
                _ => return None,
            }
        }
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
