//! Requests that run together: their rows one after the other in one run, and each request's rows
//! of what comes out.

use super::predictor::Serve;
use super::service::Job;
use crate::oip::Tensor;

/// The answers in the order of `jobs`, which ask for one output of one input. Nothing where there
/// is one job alone, or where the run has not given a row for each that went in: then each is to be
/// run by itself, so that what is wrong with one is told to that one.
pub(super) fn run(graph: &mut dyn Serve, jobs: &[Job]) -> Option<Vec<Vec<Tensor>>> {
    let [first, others @ ..] = jobs else { return None };
    if others.is_empty() {
        return None;
    }
    let mut together = first.inputs.first()?.clone();
    for job in others {
        if !together.data.append(&job.inputs.first()?.data) {
            return None;
        }
    }
    let rows = jobs.iter().map(Job::rows).sum();
    *together.shape.first_mut()? = rows;
    let outputs = jobs[0].outputs.clone();
    let mut told = graph.serve(vec![together], &outputs).ok()?;
    let [output] = &mut told[..] else { return None };
    if output.shape.first() != Some(&rows) || rows == 0 || !output.data.len().is_multiple_of(rows) {
        return None;
    }
    let width = output.data.len() / rows;
    let part = |job: &Job| {
        let mut shape = output.shape.clone();
        shape[0] = job.rows();
        let data = output.data.take(job.rows() * width);
        vec![Tensor { name: output.name.clone(), shape, data }]
    };
    Some(jobs.iter().map(part).collect())
}
