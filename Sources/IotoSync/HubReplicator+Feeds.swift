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
            // A device that is away reads them when it asks.
            guard let session = sessions[device] else { return }
            guard var feed = session.feed else {
                session.hasMoved = true
                return
            }
            read(stream, device, &feed)
            session.feed = feed
        } else {
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
                publish(topic(of: stream, device), codec.encode(message(page, for: session?.record)))
                goesOn = goesOn || page.hasMore
            }
        case .failed(let error):
            // The feed may not move again for long: whoever follows it is asked to come, and comes until there is an answer.
            log(.error, "\(stream): \(error.message)")
            publish(topic(of: stream, device), HubReplicator.plea)
            if let session {
                session.feed = nil
                return
            }
            goesOn = false
        default:
            log(.error, "\(stream): the store's answer does not match the request")
            goesOn = false
        }
        if goesOn { read(stream, device, &feed) }
        if let session { session.feed = feed } else { broadcasts[stream] = feed }
    }

    private func topic(of stream: Text, _ device: Text?) -> Text {
        if let device { return Topics.down(device: device, "BATCH") }
        let prefix: Text = "account/"
        let account = stream.hasPrefix(prefix) ? Text(stream.bytes.dropFirst(prefix.count)) : Stream.all
        return Topics.down(account: account, "BATCH")
    }
}
