//! What is remembered about one topic, so that names are looked up once.

use std::collections::HashMap;
use std::sync::Arc;

use super::json::Shape;
use crate::share::Shares;
use crate::tag::{Registry, RegistryFull, TagId};

/// Places in a message for which the last name is remembered.
const PLACES: usize = 4096;

#[derive(Debug)]
pub(super) struct Topic {
    /// Captured or configured.
    pub(super) asset: Option<Arc<str>>,
    pub(super) tag: Option<Box<str>>,
    /// Another box looks after its asset.
    pub(super) foreign: bool,
    /// `tag` of `asset`, once a value came.
    single: Option<TagId>,
    by_name: HashMap<Arc<str>, TagId>,
    /// A machine sends its tags in the same order each time; the next name is compared with
    /// the one that stood here last.
    order: Vec<Place>,
    at: usize,
    /// Of the JSON messages, as far as they are alike.
    pub(super) shape: Option<Box<Shape>>,
    /// Messages that had another shape.
    misfits: u32,
}

#[derive(Debug)]
struct Place {
    asset: Arc<str>,
    name: Arc<str>,
    /// None: of another box.
    id: Option<TagId>,
}

impl Topic {
    pub(super) fn new(asset: Option<&str>, tag: Option<&str>) -> Self {
        Self {
            asset: asset.map(Arc::from),
            tag: tag.map(Box::from),
            foreign: false,
            single: None,
            by_name: HashMap::new(),
            order: Vec::new(),
            at: 0,
            shape: None,
            misfits: 0,
        }
    }

    /// A new message begins.
    pub(super) const fn rewind(&mut self) {
        self.at = 0;
    }

    /// A message came that has another shape than the last ones, or the first one. Shapes that
    /// change all the time are learnt ever more seldom.
    pub(super) fn note_shape(&mut self, learn: impl FnOnce(&Self) -> Option<Shape>) {
        self.misfits = self.misfits.saturating_add(1);
        if self.misfits.is_power_of_two()
            && let Some(shape) = learn(self)
        {
            self.shape = Some(Box::new(shape));
        }
    }

    /// A tag of the topic's asset whose name came before.
    pub(super) fn named(&self, name: &str) -> Option<TagId> {
        self.by_name.get(name).copied()
    }

    /// The one tag of the topic.
    pub(super) fn single(&mut self, registry: &Registry) -> Result<TagId, RegistryFull> {
        if let Some(id) = self.single {
            return Ok(id);
        }
        let asset = self.asset.as_deref().expect("a decoder without an asset is refused");
        let tag = self.tag.as_deref().expect("a decoder without a tag is refused");
        let id = registry.intern(asset, tag)?;
        self.single = Some(id);
        Ok(id)
    }

    /// A tag of the topic's asset that has been seen before.
    pub(super) fn known(&mut self, name: &str) -> Option<TagId> {
        if let Some(place) = self.order.get(self.at)
            && *place.name == *name
        {
            self.at += 1;
            return place.id;
        }
        let (name, id) = self.by_name.get_key_value(name)?;
        let (name, id) = (Arc::clone(name), *id);
        let asset = Arc::clone(self.asset.as_ref().expect("names are only kept with an asset"));
        self.remember(Place { asset, name, id: Some(id) });
        Some(id)
    }

    /// A tag of the topic's asset that [`Self::known`] did not know.
    pub(super) fn learn(&mut self, name: &str, registry: &Registry) -> Result<TagId, RegistryFull> {
        let asset = Arc::clone(self.asset.as_ref().expect("the caller saw that there is an asset"));
        let id = registry.intern(&asset, name)?;
        let name: Arc<str> = Arc::from(name);
        self.by_name.insert(Arc::clone(&name), id);
        self.remember(Place { asset, name, id: Some(id) });
        Ok(id)
    }

    /// A tag of any asset; `None` where another box looks after that.
    pub(super) fn find(
        &mut self,
        asset: &str,
        name: &str,
        scope: (&Registry, &Shares),
    ) -> Result<Option<TagId>, RegistryFull> {
        if let Some(place) = self.order.get(self.at)
            && *place.name == *name
            && *place.asset == *asset
        {
            self.at += 1;
            return Ok(place.id);
        }
        let (registry, shares) = scope;
        let id = match shares.owns(asset) {
            true => Some(registry.intern(asset, name)?),
            false => None,
        };
        self.remember(Place { asset: Arc::from(asset), name: Arc::from(name), id });
        Ok(id)
    }

    fn remember(&mut self, place: Place) {
        if let Some(last) = self.order.get_mut(self.at) {
            *last = place;
        } else if self.order.len() < PLACES {
            self.order.push(place);
        }
        self.at += 1;
    }
}
