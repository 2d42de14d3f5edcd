//! Tags and the registry that gives each (asset, tag) pair a small dense number.
//!
//! Every sample carries a [`TagId`] instead of names. The ids are also what the store writes,
//! so the store loads its table into the registry before any source starts.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use crate::asset::AssetId;

/// A tag by its place in the [`Registry`]. Dense, starts at 0, stable over restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TagId(pub u32);

/// What a [`TagId`] stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagInfo {
    pub asset: AssetId,
    pub asset_name: Arc<str>,
    pub name: Arc<str>,
}

/// The registry holds as many tags as it may; the sample is rejected and counted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the registry is full: {limit} tags")]
pub struct RegistryFull {
    pub limit: usize,
}

/// Interns (asset, tag) names. Shared by all sources; reads do not block one another.
#[derive(Debug)]
pub struct Registry {
    limit: usize,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    assets: Vec<Arc<str>>,
    asset_ids: HashMap<Arc<str>, AssetId>,
    tags: Vec<TagInfo>,
    /// By asset, so that a look-up needs no owned key.
    tag_ids: Vec<HashMap<Arc<str>, TagId>>,
}

impl Registry {
    /// `limit` bounds the number of tags, so that a runaway topic tree cannot eat the memory.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: RwLock::default() }
    }

    /// The id of `tag` of `asset`, made if new.
    pub fn intern(&self, asset: &str, tag: &str) -> Result<TagId, RegistryFull> {
        if let Some(id) = self.lookup(asset, tag) {
            return Ok(id);
        }
        self.write().intern(asset, tag, self.limit)
    }

    /// The id of `tag` of `asset` if both are known.
    pub fn lookup(&self, asset: &str, tag: &str) -> Option<TagId> {
        self.read().lookup(asset, tag)
    }

    /// The id of `asset`, made if new. Assets without tags do not count against the limit.
    pub fn intern_asset(&self, asset: &str) -> AssetId {
        self.write().intern_asset(asset)
    }

    /// The id of `asset` if it is known.
    pub fn lookup_asset(&self, asset: &str) -> Option<AssetId> {
        self.read().asset_ids.get(asset).copied()
    }

    pub fn tag(&self, id: TagId) -> Option<TagInfo> {
        self.read().tags.get(id.0 as usize).cloned()
    }

    pub fn asset_name(&self, id: AssetId) -> Option<Arc<str>> {
        self.read().assets.get(id.0 as usize).cloned()
    }

    /// The tags from `first` on, in id order: what the store has not yet written down.
    pub fn tags_from(&self, first: u32) -> Vec<(TagId, TagInfo)> {
        let inner = self.read();
        (first..)
            .zip(inner.tags.iter().skip(first as usize))
            .map(|(id, info)| (TagId(id), info.clone()))
            .collect()
    }

    pub fn len(&self) -> usize {
        self.read().tags.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().expect("no code panics while it holds the registry")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().expect("no code panics while it holds the registry")
    }
}

impl Inner {
    fn lookup(&self, asset: &str, tag: &str) -> Option<TagId> {
        let asset = self.asset_ids.get(asset)?;
        self.tag_ids[asset.0 as usize].get(tag).copied()
    }

    fn intern_asset(&mut self, asset: &str) -> AssetId {
        if let Some(id) = self.asset_ids.get(asset) {
            return *id;
        }
        let name: Arc<str> = Arc::from(asset);
        let id = AssetId(u32::try_from(self.assets.len()).expect("fewer than 2^32 assets"));
        self.assets.push(Arc::clone(&name));
        self.asset_ids.insert(name, id);
        self.tag_ids.push(HashMap::new());
        id
    }

    fn intern(&mut self, asset: &str, tag: &str, limit: usize) -> Result<TagId, RegistryFull> {
        if let Some(id) = self.lookup(asset, tag) {
            return Ok(id);
        }
        if self.tags.len() >= limit {
            return Err(RegistryFull { limit });
        }
        let asset = self.intern_asset(asset);
        let name: Arc<str> = Arc::from(tag);
        let id = TagId(u32::try_from(self.tags.len()).expect("the limit is below 2^32"));
        let asset_name = Arc::clone(&self.assets[asset.0 as usize]);
        self.tags.push(TagInfo { asset, asset_name, name: Arc::clone(&name) });
        self.tag_ids[asset.0 as usize].insert(name, id);
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_stable() {
        let registry = Registry::new(3);
        let a = registry.intern("press-1", "pressure").unwrap();
        let b = registry.intern("press-1", "temperature").unwrap();
        let c = registry.intern("press-2", "pressure").unwrap();
        assert_eq!((a, b, c), (TagId(0), TagId(1), TagId(2)));
        assert_eq!(registry.intern("press-1", "pressure"), Ok(a));
        assert_eq!(registry.tag(c).unwrap().asset_name.as_ref(), "press-2");
        assert_eq!(registry.intern("press-9", "pressure"), Err(RegistryFull { limit: 3 }));
        assert_eq!(registry.tags_from(2).len(), 1);
    }
}
