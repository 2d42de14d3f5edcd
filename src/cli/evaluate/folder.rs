//! A folder of pictures with a list of their labels: each picture is an asset and a window of its own.

use std::path::Path;

use anyhow::Context;

use super::truth::Labels;
use super::{Arguments, Course};
use crate::frame::ImageInput;
use crate::picture::{self, Limits};
use crate::time::Timestamp;

pub(super) fn show(
    arguments: &Arguments,
    image: &ImageInput,
    labels: &Labels,
    course: &mut Course,
) -> anyhow::Result<()> {
    let list = arguments.labels.as_deref().context(
        "--labels: missing; a model of pictures needs a CSV with the columns `file` and `label`",
    )?;
    let shown = || list.display();
    let mut rows = csv::Reader::from_path(list).with_context(|| shown().to_string())?;
    let header = rows.headers().with_context(|| shown().to_string())?.clone();
    let column = |name: &str| {
        let all = || header.iter().collect::<Vec<_>>().join(", ");
        header
            .iter()
            .position(|cell| cell.trim() == name)
            .with_context(|| format!("{}: no column `{name}`; it has {}", shown(), all()))
    };
    let (file, label) = (column("file")?, column(&arguments.label)?);
    for (row, number) in rows.records().zip(2..) {
        let row = row.with_context(|| shown().to_string())?;
        let cell = |at: usize| row.get(at).unwrap_or_default().trim();
        let name = cell(file);
        let truth = labels.read(cell(label)).map_err(|problem| {
            anyhow::anyhow!("{}: row {number}: `{}` is {problem}", shown(), cell(label))
        })?;
        let values = tensor(&arguments.data.join(name), image)
            .with_context(|| format!("{}: row {number}", shown()))?;
        let time = Timestamp::from_secs(number);
        let asset = course.rehearsal.show(name, time, values);
        course.names.insert(asset, name.to_owned());
        course.truths.add(asset, time, Some(truth));
        course.classes |= labels.tells_class(cell(label));
        course.rows += 1;
    }
    Ok(())
}

fn tensor(file: &Path, image: &ImageInput) -> anyhow::Result<Vec<f32>> {
    let limits = Limits::default();
    let length = std::fs::metadata(file).with_context(|| file.display().to_string())?.len();
    if length > limits.bytes as u64 {
        anyhow::bail!("{}: {length} bytes; the most is {}", file.display(), limits.bytes);
    }
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let picture = picture::decode(&bytes, limits).with_context(|| file.display().to_string())?;
    Ok(image.tensor(&picture))
}
