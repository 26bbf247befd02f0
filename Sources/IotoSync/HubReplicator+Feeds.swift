import IotoBase

/// Live pages: what is new goes to the devices that have caught up.
extension HubReplicator {
    /// Bodies in one page: leaves room for keys and versions under the broker's packet limit.
    static let pageBytesMax = 64 * 1024
    static let pageItemsMax = 200

    /// A feed has new entries.
    func moved(_ stream: Text) {
        let prefix: Text = "device/"
        if stream.hasPrefix(prefix) {
            let device = Text(stream.bytes.dropFirst(prefix.count))
            // A device that is away or still catching up reads them when it asks.
            if let session = sessions[device], session.agent != nil { moved(stream, session) }
            guard let session = sessions[device], var feed = session.feed else { return }
            read(stream, device, &feed)
            session.feed = feed
        } else {
            for device in agents.sorted() { if let session = sessions[device] { moved(stream, session) } }
            var feed = broadcasts[stream] ?? LiveFeed(sent: 0)
            read(stream, nil, &feed)
            broadcasts[stream] = feed
        }
    }

    private func read(_ stream: Text, _ device: Text?, _ feed: inout LiveFeed) {
        if feed.isReading {
            feed.hasMoved = true
            return
        }
        feed.isReading = true
        feed.hasMoved = false
        request(
            .readFeed(
                stream: stream, after: feed.sent, bytesMax: HubReplicator.pageBytesMax,
                itemsMax: HubReplicator.pageItemsMax),
            .push(stream: stream, device: device))
    }

    func pushed(_ stream: Text, _ device: Text?, _ answer: HubAnswer) {
        let session = device.flatMap { sessions[$0] }
        guard var feed = device == nil ? broadcasts[stream] : session?.feed else { return }
        feed.isReading = false
        var goesOn = feed.hasMoved
        switch answer {
        case .page(let page):
            if page.cursor > feed.sent {
                feed.sent = page.cursor
                publish(page, session)
                goesOn = goesOn || page.hasMore
            }
        case .failed(let error):
            // The feed's next move, or the device's next question, brings it.
            log(.error, "\(stream): \(error.message)")
            goesOn = false
        default:
            log(.error, "\(stream): the store's answer does not match the request")
            goesOn = false
        }
        if goesOn { read(stream, device, &feed) }
        if let session { session.feed = feed } else { broadcasts[stream] = feed }
    }

    private func publish(_ page: FeedPage, _ session: DeviceSession?) {
        let payload = codec.encode(message(page, for: session?.record))
        guard session == nil, !agents.isEmpty else {
            publish(topic(of: page.stream, session?.id), payload)
            return
        }
        // Agents of version 1 hear what is said to all, and need not understand it: each of the others gets its own.
        for id in sessions.keys.sorted() {
            guard let record = sessions[id]?.record, !record.isVersion1,
                page.stream == Stream.all || page.stream == Stream.account(record.account)
            else { continue }
            publish(Topics.down(device: id, "BATCH"), payload)
        }
    }

    private func topic(of stream: Text, _ device: Text?) -> Text {
        if let device { return Topics.down(device: device, "BATCH") }
        let prefix: Text = "account/"
        let account = stream.hasPrefix(prefix) ? Text(stream.bytes.dropFirst(prefix.count)) : Stream.all
        return Topics.down(account: account, "BATCH")
    }
}
