//! The colours of the classes, and the shapes of their points.

use anyhow::Result;
use plotters::prelude::*;

use super::canvas::{Surface, px};

/// Told apart with every common kind of colour blindness: Paul Tol's "muted" scheme, its light colours darker, so that
/// all are legible on white, and on black once the page in its dark form has turned them.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0xbb, 0x55, 0x66),
    RGBColor(0x88, 0x74, 0x18),
    RGBColor(0x11, 0x77, 0x33),
    RGBColor(0x22, 0x80, 0xb4),
    RGBColor(0x88, 0x22, 0x55),
    RGBColor(0x22, 0x80, 0x74),
    RGBColor(0x6b, 0x6b, 0x10),
    RGBColor(0xaa, 0x44, 0x99),
    RGBColor(0x55, 0x55, 0x55),
];
/// How much of its colour a filled point has, so that one sees how many lie on each other.
const OPACITY: f64 = 0.85;

/// A shape of points, as far from the others as a few pixels allow.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Disc,
    Ring,
    Frame,
    /// With these corners, in units of half a point's size.
    Filled(&'static [(f64, f64)]),
    /// Lines through the middle with these ends.
    Lines(&'static [(f64, f64)]),
}

const SHAPES: [Shape; 10] = [
    Shape::Disc,
    Shape::Filled(&[(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    Shape::Filled(&[(0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    Shape::Ring,
    Shape::Lines(&[(0.0, 1.0), (1.0, 0.0)]),
    Shape::Filled(&[(0.0, -1.4), (1.4, 0.0), (0.0, 1.4), (-1.4, 0.0)]),
    Shape::Frame,
    Shape::Filled(&[(0.0, 1.0), (1.0, -1.0), (-1.0, -1.0)]),
    Shape::Lines(&[(0.0, 1.0), (1.0, 0.5), (1.0, -0.5)]),
    Shape::Lines(&[(1.4, 0.0)]),
];

/// The shape of the points of class `label`. With the colour it tells a hundred classes apart, and ten without it.
fn class_shape(label: usize) -> Shape {
    SHAPES[(label + label / COLOURS.len()) % SHAPES.len()]
}

/// The colour of class `label`; beyond ten classes they repeat.
pub fn class_colour(label: usize) -> RGBColor {
    COLOURS[label % COLOURS.len()]
}

/// Draws a point of class `label`.
pub fn draw_point(surface: &Surface<'_>, place: (i32, i32), label: usize) -> Result<()> {
    let colour = class_colour(label);
    let (filled, thin) = (colour.mix(OPACITY).filled(), colour.stroke_width(px(1)));
    let size = px(5) as i32 / 2;
    let at = |&(x, y): &(f64, f64)| {
        let along = |part: f64| (part * f64::from(size)).round() as i32;
        (place.0 + along(x), place.1 + along(y))
    };
    match class_shape(label) {
        Shape::Disc => surface.draw(&Circle::new(place, size, filled))?,
        Shape::Ring => surface.draw(&Circle::new(place, size, thin))?,
        Shape::Frame => {
            surface.draw(&Rectangle::new([at(&(-1.0, -1.0)), at(&(1.0, 1.0))], thin))?;
        }
        Shape::Filled(corners) => {
            let corners = Vec::from_iter(corners.iter().map(at));
            surface.draw(&Polygon::new(corners, filled))?;
        }
        Shape::Lines(ends) => {
            for &(x, y) in ends {
                surface.draw(&PathElement::new([at(&(x, y)), at(&(-x, -y))], thin))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_classes_differ_in_shape_and_a_hundred_in_shape_or_colour() {
        for label in 0..100 {
            for other in 0..label {
                let same_shape = class_shape(label) == class_shape(other);
                let same_colour = class_colour(label) == class_colour(other);
                assert!(!(same_shape && same_colour), "{label} and {other}");
                assert!(!(same_shape && label < 10), "{label} and {other}");
            }
        }
    }

    /// The contrast of two colours, as the guidelines for accessible pages define it.
    fn contrast(colour: [f64; 3], other: [f64; 3]) -> f64 {
        let luminance = |colour: [f64; 3]| {
            let [red, green, blue] = colour.map(|value| match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            });
            0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
        };
        let ratio = luminance(colour) / luminance(other);
        ratio.max(1.0 / ratio)
    }

    #[test]
    fn every_class_is_legible_by_day_and_by_night() {
        for RGBColor(red, green, blue) in COLOURS {
            let on_white = |value: u8| 1.0 - OPACITY * (1.0 - f64::from(value) / 255.0);
            let day = [red, green, blue].map(on_white);
            // The page's filter: invert, then turn the hue by half a circle.
            let [red, green, blue] = day.map(|value| 1.0 - value);
            let grey = 2.0 * (0.213 * red + 0.715 * green + 0.072 * blue);
            let night = [red, green, blue].map(|value| (grey - value).clamp(0.0, 1.0));
            let contrasts = [contrast(day, [1.0; 3]), contrast(night, [0.0; 3])];
            assert!(
                contrasts.iter().all(|&ratio| ratio >= 3.0),
                "{day:?}: {contrasts:?}"
            );
        }
    }
}
