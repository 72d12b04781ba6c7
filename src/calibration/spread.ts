/**
 * How sure a layer's statistics are: standard errors with images, not pixels, as the independent draws. The pixels of
 * one image resemble each other, so counting them would promise far too much.
 *
 * An image gives a channel two numbers, its mean a and its second moment q = v + (a - k)^2 around a fixed reference k
 * (the first image's mean, which keeps the numbers small). The layer's statistics are functions of their averages,
 *
 *   mean = avg(a)        variance = avg(q) - (avg(a) - k)^2
 *
 * and to first order the error of the second is that of avg(q - 2 d a), d = avg(a) - k (delta method).
 */
export interface StandardErrors {
  /** Of the mean, per channel, in units of the layer's input. */
  mean: Float64Array
  /** Of the variance, per channel. */
  variance: Float64Array
}

export class Spread {
  images = 0
  readonly #reference: Float64Array
  readonly #meanA: Float64Array
  readonly #meanQ: Float64Array
  readonly #squaresA: Float64Array
  readonly #squaresQ: Float64Array
  readonly #products: Float64Array

  constructor (channels: number) {
    const zeros = () => new Float64Array(channels)
    this.#reference = zeros()
    this.#meanA = zeros()
    this.#meanQ = zeros()
    this.#squaresA = zeros()
    this.#squaresQ = zeros()
    this.#products = zeros()
  }

  /** One image: its mean and population variance per channel (Welford 1962, with the product of both). */
  add (mean: ArrayLike<number>, variance: ArrayLike<number>): void {
    if (this.images === 0) this.#reference.set(mean)
    const images = ++this.images
    for (let channel = 0; channel < this.#reference.length; channel++) {
      const a = mean[channel]! - this.#reference[channel]!
      const q = variance[channel]! + a * a
      const deltaA = a - this.#meanA[channel]!
      const deltaQ = q - this.#meanQ[channel]!
      this.#meanA[channel]! += deltaA / images
      this.#meanQ[channel]! += deltaQ / images
      this.#squaresA[channel]! += deltaA * (a - this.#meanA[channel]!)
      this.#squaresQ[channel]! += deltaQ * (q - this.#meanQ[channel]!)
      this.#products[channel]! += deltaA * (q - this.#meanQ[channel]!)
    }
  }

  /** Infinite for fewer than two images, of which nothing can be told. */
  standardErrors (): StandardErrors {
    const draws = this.images * (this.images - 1)
    const error = (squares: number) => draws === 0 ? Infinity : Math.sqrt(Math.max(0, squares) / draws)
    return {
      mean: this.#squaresA.map(error),
      variance: this.#squaresQ.map((squaresQ, channel) => {
        const d = this.#meanA[channel]!
        return error(squaresQ - 4 * d * this.#products[channel]! + 4 * d * d * this.#squaresA[channel]!)
      })
    }
  }
}
