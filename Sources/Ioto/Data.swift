import CIoto
import CPlatform
import IotoAgent
import IotoBase
import IotoSchema
import IotoStore

@_cdecl("dbLoadData") @implementation
public func dbLoadData(_ db: OpaquePointer?, _ path: UnsafePointer<CChar>?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        _ = try call.database.loadData(try text(path, "path"))
        return 0
    }
}

@_cdecl("dbPrint") @implementation
public func dbPrint(_ db: OpaquePointer?) {
    _ = entryCode { () throws(IotoError) in
        // Named, so that it lasts until here.
        let call = try DatabaseCall(db)
        try call.database.eachItem(printLine)
        return 0
    }
}

@_cdecl("dbPrintItem") @implementation
public func dbPrintItem(_ item: OpaquePointer?) {
    if let item = Ioto.item(item) { printLine(item) }
}

@_cdecl("dbPrintList") @implementation
public func dbPrintList(_ list: OpaquePointer?) {
    guard let list else { return }
    for item in object(list, ItemList.self).items { printLine(item) }
}

private func printLine(_ item: Item) {
    item.stored.model.name.withCString { platform_print($0, item.jsonText) }
}
