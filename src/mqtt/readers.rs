//! What a broker is asked for and how it is read: the filters, and how they change on a link.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Link, LinkError};
use super::ingest::IngestError;
use super::wire::Ask;
use crate::decode::payload::{Decoder, Decoders};
use crate::settings::Subscription;
use crate::share::Shares;
use crate::tag::Registry;

/// Packet ids of our own requests. The broker's messages have their own.
const SUBSCRIBE: u16 = 1;
const UNSUBSCRIBE: u16 = 2;

/// Topic filters with their QoS.
type Filters = Vec<(String, u8)>;

/// What a connection is to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub subscriptions: Vec<Subscription>,
    /// Of what comes, the assets that are this box's.
    pub shares: Shares,
}

#[derive(Debug)]
pub(super) struct Readers {
    filters: Filters,
    /// Filters that are no longer wanted and that the broker has not let go of.
    parting: Vec<String>,
    /// What was asked for and is not answered.
    asked: VecDeque<Vec<String>>,
    registry: Arc<Registry>,
    future: Duration,
}

impl Readers {
    pub(super) fn new(
        subscriptions: &[Subscription],
        registry: &Arc<Registry>,
        future: Duration,
    ) -> Result<Self, IngestError> {
        let (filters, _) = build(subscriptions)?;
        let registry = Arc::clone(registry);
        Ok(Self { filters, parting: Vec::new(), asked: VecDeque::new(), registry, future })
    }

    pub(super) fn decoders(&self, wanted: &Reading) -> Result<Decoders, IngestError> {
        let (_, decoders) = build(&wanted.subscriptions)?;
        let decoders = Decoders::new(decoders, Arc::clone(&self.registry), self.future);
        Ok(decoders.sharing(wanted.shares.clone()))
    }

    /// On a new link: everything that is wanted, and a farewell to what a lasting session keeps.
    pub(super) fn subscribe_all(&mut self, link: &mut Link) -> Result<(), LinkError> {
        self.asked.clear();
        self.ask(link, self.filters.clone())?;
        self.part(link)
    }

    /// Only what is new is asked for, and only what is gone is given up; the rest flows on.
    pub(super) fn retune(
        &mut self,
        wanted: &[Subscription],
        link: Option<&mut Link>,
    ) -> Result<(), LinkError> {
        // The caller has made decoders of the same subscriptions.
        let Ok((filters, _)) = build(wanted) else { return Ok(()) };
        let old = std::mem::replace(&mut self.filters, filters);
        let wanted = |filter: &str| self.filters.iter().any(|(wanted, _)| wanted == filter);
        self.parting.extend(old.iter().map(|(filter, _)| filter.clone()));
        self.parting.retain(|filter| !wanted(filter));
        let Some(link) = link else { return Ok(()) };
        let fresh = self.filters.iter().filter(|filter| !old.contains(filter)).cloned().collect();
        // First the new ones: where they cover the same topics there is no moment without.
        self.ask(link, fresh)?;
        self.part(link)
    }

    /// The filters that the next answer is about.
    pub(super) fn answered(&mut self) -> Vec<String> {
        self.asked.pop_front().unwrap_or_default()
    }

    pub(super) fn parted(&mut self) {
        self.parting.clear();
    }

    fn ask(&mut self, link: &mut Link, filters: Filters) -> Result<(), LinkError> {
        if filters.is_empty() {
            return Ok(());
        }
        link.subscribe(SUBSCRIBE, filters.iter().map(|(filter, qos)| Ask::new(filter, *qos)))?;
        self.asked.push_back(filters.into_iter().map(|(filter, _)| filter).collect());
        link.flush()
    }

    fn part(&self, link: &mut Link) -> Result<(), LinkError> {
        if self.parting.is_empty() {
            return Ok(());
        }
        link.unsubscribe(UNSUBSCRIBE, &self.parting)?;
        link.flush()
    }
}

/// The filters with their QoS, and what reads the payloads.
pub(super) fn build(
    subscriptions: &[Subscription],
) -> Result<(Filters, Vec<Decoder>), IngestError> {
    let (mut filters, mut decoders) = (Vec::new(), Vec::new());
    for subscription in subscriptions {
        let decoder = Decoder::new(subscription).map_err(|error| IngestError::Subscription {
            topic: subscription.topic.clone(),
            error,
        })?;
        filters.push((decoder.pattern().filter().to_owned(), subscription.qos));
        decoders.push(decoder);
    }
    Ok((filters, decoders))
}
