/** Pictures in a form that the server takes. */

const TAKEN = [[0x89, 0x50], [0xff, 0xd8], [0x52, 0x49]]

/** PNG, JPEG and WebP go as they are; what else the browser can read goes as PNG. Rejects for what it cannot. */
export async function sendable (picture: Blob): Promise<Blob> {
  const first = new Uint8Array(await picture.slice(0, 2).arrayBuffer())
  if (TAKEN.some((bytes) => bytes.every((byte, at) => byte === first[at]))) return picture
  const bitmap = await createImageBitmap(picture).catch(() => undefined)
  if (bitmap === undefined) throw new TypeError('This is no picture that the browser or the server can read.')
  return await pngOf(bitmap, bitmap.width, bitmap.height)
}

export async function pngOf (source: CanvasImageSource, width: number, height: number): Promise<Blob> {
  const canvas = Object.assign(document.createElement('canvas'), { width, height })
  canvas.getContext('2d')!.drawImage(source, 0, 0)
  return await new Promise((resolve, reject) => canvas.toBlob((blob) => {
    if (blob === null) reject(new TypeError('The picture is too large for this browser.'))
    else resolve(blob)
  }, 'image/png'))
}
