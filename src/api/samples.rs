//! A stretch of one tag, thinned out to what a screen can show.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Desk;
use super::problem::{Asked, Problem, ProblemBody, moment};
use super::shape::Series;
use crate::sample::Sample;
use crate::time::Timestamp;

const POINTS: u32 = 500;
const MOST_POINTS: u32 = 5000;
const SPAN: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Stretch {
    asset: String,
    tag: String,
    /// Event time. Default: ten minutes before `to`.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "moment")]
    from: Option<Timestamp>,
    /// Exclusive. Default: now.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "moment")]
    to: Option<Timestamp>,
    /// At most so many buckets, up to 5000; default 500.
    #[param(minimum = 1, maximum = 5000)]
    points: Option<u32>,
}

/// The samples of a tag in buckets of equal length, each with its least, greatest and newest value and
/// its worst quality.
#[utoipa::path(
    get, path = "/api/v1/samples", params(Stretch),
    responses(
        (status = 200, body = Series), (status = 400, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
    )
)]
pub(super) async fn get_samples(
    State(desk): State<Desk>,
    Asked(asked): Asked<Stretch>,
) -> Result<Json<Series>, Problem> {
    let to = asked.to.unwrap_or_else(Timestamp::now);
    let from = asked.from.unwrap_or_else(|| to.saturating_sub(SPAN));
    if from >= to {
        return Err(Problem::bad_request(format!("`from` ({from}) must be before `to` ({to})")));
    }
    let points = asked.points.unwrap_or(POINTS);
    if !(1..=MOST_POINTS).contains(&points) {
        return Err(Problem::bad_request(format!(
            "`points` is {points}; write 1 to {MOST_POINTS}"
        )));
    }
    let Stretch { asset, tag, .. } = asked;
    let id = desk.registry.lookup(&asset, &tag);
    let id =
        id.ok_or_else(|| Problem::not_found(format!("there is no tag `{tag}` of `{asset}`")))?;
    let samples = desk.store.read_tag(id, from, to).await?;
    let unit = desk.live.tag_settings(&asset, &tag).and_then(|settings| settings.unit);
    Ok(Json(Series { asset, tag, unit, ..buckets(&samples, from, to, points) }))
}

/// `samples` are in time order and inside `[from, to)`.
fn buckets(samples: &[Sample], from: Timestamp, to: Timestamp, points: u32) -> Series {
    let span = i128::from(to.as_nanos()) - i128::from(from.as_nanos());
    let bucket = |sample: &Sample| {
        (i128::from(sample.time.as_nanos()) - i128::from(from.as_nanos())) * i128::from(points)
            / span
    };
    let few = samples.len() <= points as usize;
    let mut series = Series { samples: samples.len(), ..Series::default() };
    for part in samples.chunk_by(|a, b| !few && bucket(a) == bucket(b)) {
        let measured = || part.iter().map(|sample| sample.value).filter(|value| value.is_finite());
        series.time_ms.push(part[part.len() - 1].time.as_millis());
        series.min.push(measured().reduce(f64::min));
        series.max.push(measured().reduce(f64::max));
        series.last.push(measured().next_back());
        let worst = part.iter().map(|sample| sample.quality).max().unwrap_or_default();
        series.quality.push(worst.as_str());
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Quality;
    use crate::tag::TagId;

    #[test]
    fn buckets_keep_the_extremes_and_the_gaps() {
        let at = Timestamp::from_secs;
        let mut samples: Vec<Sample> =
            (0..100).map(|i| Sample::new(TagId(0), at(i), (i % 10) as f64)).collect();
        for sample in &mut samples[50..60] {
            *sample = Sample::missing(TagId(0), sample.time);
        }
        let series = buckets(&samples, at(0), at(100), 10);
        assert_eq!(series.samples, 100);
        assert_eq!(series.time_ms, (0..10).map(|i| i * 10_000 + 9_000).collect::<Vec<_>>());
        assert_eq!(
            (series.min[0], series.max[0], series.last[0]),
            (Some(0.0), Some(9.0), Some(9.0))
        );
        assert_eq!((series.min[5], series.max[5], series.last[5]), (None, None, None));
        samples[3].quality = Quality::Uncertain;
        samples[10] = Sample::missing(TagId(0), at(10));
        let series = buckets(&samples, at(0), at(100), 10);
        assert_eq!(series.quality[..3], ["uncertain", "bad", "good"], "the worst of each");
        assert_eq!(series.min[1], Some(1.0));
        let whole = buckets(&samples[..7], at(0), at(100), 10);
        assert_eq!(whole.last.len(), 7, "few samples are given one by one");
        let wide = buckets(&samples, Timestamp::MIN, Timestamp::MAX, 5000);
        assert_eq!(wide.last.len(), 100);
    }
}
