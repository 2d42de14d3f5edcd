//! Which execution provider really took the graph's nodes, read back from the runtime.
//!
//! `ort` has no safe call for it yet, so this file alone reads the C API.

use std::ffi::CStr;
use std::ptr;

use ort::AsPointer;

/// Names of the execution providers with nodes in this graph, by their number of nodes, most
/// first. Needs `session.record_ep_graph_assignment_info = 1`; empty when the runtime cannot say.
#[expect(unsafe_code, reason = "the C API's assignment calls have no safe wrapper in ort rc.15")]
pub(super) fn providers(session: &ort::session::Session) -> Vec<(String, usize)> {
    let api = ort::api();
    let failed = |status: ort::sys::OrtStatusPtr| {
        if status.0.is_null() {
            return false;
        }
        // SAFETY: a status that is not null is ours to release, once.
        unsafe { (api.ReleaseStatus)(status.0) };
        true
    };
    let mut found: Vec<(String, usize)> = Vec::new();
    let (mut subgraphs, mut count) = (ptr::null(), 0);
    // SAFETY: the session is alive, both places are writable; the array belongs to the session.
    if failed(unsafe {
        (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut subgraphs, &raw mut count)
    }) || subgraphs.is_null()
    {
        return found;
    }
    // SAFETY: the runtime has just said that there are `count` pointers.
    for subgraph in unsafe { std::slice::from_raw_parts(subgraphs, count) } {
        let (mut name, mut nodes, mut node_count) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the subgraph belongs to the living session, as do name and nodes.
        let without_name =
            failed(unsafe { (api.EpAssignedSubgraph_GetEpName)(*subgraph, &raw mut name) });
        // SAFETY: as above.
        let without_nodes = failed(unsafe {
            (api.EpAssignedSubgraph_GetNodes)(*subgraph, &raw mut nodes, &raw mut node_count)
        });
        if without_name || without_nodes || name.is_null() {
            continue;
        }
        // SAFETY: a C string that lives as long as the session.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += node_count,
            None => found.push((name, node_count)),
        }
    }
    found.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    found
}
