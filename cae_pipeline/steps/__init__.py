"""One verb each: parameters in, frozen result out; the order of effects and nothing clever."""
