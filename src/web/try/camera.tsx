/** A picture from the camera. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { Dialog } from '../parts/dialog.js'
import { pngOf } from './sendable.js'

export function CameraDialog ({ onPicture, onClose }: { onPicture: (picture: Blob) => void, onClose: () => void }) {
  const video = useRef<HTMLVideoElement>(null)
  const [state, setState] = useState<'asking' | 'on' | 'refused'>('asking')
  useEffect(() => {
    let stream: MediaStream | undefined
    let isClosed = false
    const stop = () => { for (const track of stream?.getTracks() ?? []) track.stop() }
    const begin = async () => {
      // Absent where the page came neither by HTTPS nor from this machine.
      const devices = navigator.mediaDevices as MediaDevices | undefined
      if (devices === undefined) return setState('refused')
      stream = await devices.getUserMedia({ video: { facingMode: 'environment' } })
      if (isClosed) return stop()
      video.current!.srcObject = stream
      await video.current!.play()
      setState('on')
    }
    begin().catch(() => setState('refused'))
    return () => { isClosed = true; stop() }
  }, [])
  const shoot = () => {
    const { videoWidth, videoHeight } = video.current!
    void pngOf(video.current!, videoWidth, videoHeight).then(onPicture)
    onClose()
  }
  return (
    <Dialog title='Camera' onClose={onClose}>
      {state === 'refused' && (
        <p>The browser gives no camera: it asks for permission, for a camera, and for HTTPS unless the server is this machine.</p>
      )}
      <video ref={video} class={state === 'on' ? 'camera' : 'hidden'} muted playsInline aria-label='What the camera sees' />
      <div class='buttons'>
        <button type='button' class='quiet' onClick={onClose}>Cancel</button>
        <button type='button' class='primary' disabled={state !== 'on'} onClick={shoot}>Take the picture</button>
      </div>
    </Dialog>
  )
}
