//! A subscription's settings, checked and in the form that reading needs.

use super::DecoderError;
use crate::settings::{ByteOrder, PayloadKind, Subscription, TimeUnit};

/// Keys from the outside in.
pub(super) type Path = Vec<Box<str>>;

#[derive(Debug)]
pub(super) enum Plan {
    Json(JsonPlan),
    Number,
    Image,
    Text,
    Packed(PackedPlan),
}

#[derive(Debug)]
pub(super) struct JsonPlan {
    /// Absent: the time of arrival.
    pub(super) time: Option<Path>,
    pub(super) unit: TimeUnit,
    /// Empty: the whole payload.
    pub(super) values: Path,
    /// Absent: the values are an object of tag: value.
    pub(super) element: Option<ElementKeys>,
}

#[derive(Debug)]
pub(super) struct ElementKeys {
    pub(super) tag: Box<str>,
    pub(super) asset: Option<Box<str>>,
    pub(super) value: Box<str>,
}

#[derive(Debug)]
pub(super) struct PackedPlan {
    pub(super) kind: PayloadKind,
    pub(super) order: ByteOrder,
    /// Nanoseconds from one value to the next.
    pub(super) period: f64,
    pub(super) scale: f64,
}

impl Plan {
    pub(super) fn new(subscription: &Subscription) -> Result<Self, DecoderError> {
        let plan = match subscription.payload {
            PayloadKind::Json => return JsonPlan::new(subscription, None).map(Self::Json),
            PayloadKind::Samples => {
                let keys = ElementKeys::new(subscription);
                return JsonPlan::new(subscription, Some(keys)).map(Self::Json);
            }
            PayloadKind::Number => Self::Number,
            PayloadKind::Image => Self::Image,
            PayloadKind::Text => Self::Text,
            PayloadKind::I16 | PayloadKind::I32 | PayloadKind::F32 | PayloadKind::F64 => {
                Self::Packed(PackedPlan::new(subscription)?)
            }
        };
        if subscription.time.is_some() {
            return Err(DecoderError::NoJson("time"));
        }
        if subscription.values.is_some() {
            return Err(DecoderError::NoJson("values"));
        }
        Ok(plan)
    }

    pub(super) fn names_assets(&self) -> bool {
        matches!(self, Self::Json(JsonPlan { element: Some(keys), .. }) if keys.asset.is_some())
    }

    pub(super) const fn names_tags(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Image | Self::Text)
    }
}

impl JsonPlan {
    fn new(settings: &Subscription, element: Option<ElementKeys>) -> Result<Self, DecoderError> {
        let path = |setting, path: &Option<String>| match path.as_deref() {
            None => Ok(None),
            Some(path) if path.is_empty() || path.split('.').any(str::is_empty) => {
                Err(DecoderError::Path { setting, path: path.to_owned() })
            }
            Some(path) => Ok(Some(path.split('.').map(Box::from).collect())),
        };
        Ok(Self {
            time: path("time", &settings.time)?,
            unit: settings.time_unit,
            values: path("values", &settings.values)?.unwrap_or_default(),
            element,
        })
    }
}

impl ElementKeys {
    fn new(settings: &Subscription) -> Self {
        let key = |setting: &Option<String>, default: &str| {
            Box::from(setting.as_deref().unwrap_or(default))
        };
        Self {
            tag: key(&settings.tag_key, "tag"),
            asset: settings.asset_key.as_deref().map(Box::from),
            value: key(&settings.value_key, "value"),
        }
    }
}

impl PackedPlan {
    fn new(settings: &Subscription) -> Result<Self, DecoderError> {
        let rate = settings.sample_rate.ok_or(DecoderError::NoSampleRate)?;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(DecoderError::SampleRate(rate));
        }
        if !settings.scale.is_finite() || settings.scale == 0.0 {
            return Err(DecoderError::Scale(settings.scale));
        }
        Ok(Self {
            kind: settings.payload,
            order: settings.byte_order,
            period: 1e9 / rate,
            scale: settings.scale,
        })
    }
}
